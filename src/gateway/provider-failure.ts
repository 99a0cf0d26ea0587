import { OperationalError } from "../core/operational-error.ts";
import type { ClientError, ClientErrorCode } from "./http-client/client-error.ts";

/** What a client may know of a failed connection: its kind, not the addresses in its message. */
const REASONS: Readonly<Record<Exclude<ClientErrorCode, "invalid_request" | "body_failed">, string>> = {
  queue_timeout: "all connections to it were busy for too long",
  refused: "the connection was refused",
  name_not_resolved: "its name could not be resolved",
  unreachable: "it could not be reached",
  tls_failed: "no trusted TLS connection could be made",
  connect_timeout: "the connection could not be made in time",
  answer_timeout: "it took too long to answer",
  idle_timeout: "it stopped in the middle of its answer",
  closed: "the connection was closed",
  not_http: "its answer was not HTTP",
  head_too_large: "the head of its answer was too large",
  client_closed: "the gateway shuts down",
  handler_failed: "its answer could not be passed on",
};

/** A call that got no answer, as a failure that the wire formats can tell. Some are the client's own doing. */
export function providerFailure(error: ClientError): OperationalError {
  if (error.code === "body_failed") {
    if (error.cause instanceof OperationalError) return error.cause;
    return new OperationalError("invalid_request", "the request was broken off", { cause: error });
  }
  if (error.code === "invalid_request") {
    return new OperationalError("invalid_request", error.message, { cause: error });
  }
  const message = `the provider did not answer: ${REASONS[error.code]}`;
  return new OperationalError("provider_unavailable", message, { cause: error });
}
