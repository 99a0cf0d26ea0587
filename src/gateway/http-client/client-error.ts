/** Why a call to a server did not end in a whole answer. Closed: consumers map each. */
export type ClientErrorCode =
  /** The request cannot be written without breaking HTTP's framing. Never sent. */
  | "invalid_request"
  /** The stream that is the request's body failed or ended early; `cause` says why. */
  | "body_failed"
  /** All connections to the origin were busy until the deadline. Never sent. */
  | "queue_timeout"
  | "refused"
  | "name_not_resolved"
  /** No route, no free port, and whatever else keeps a connection from being made. */
  | "unreachable"
  /** No TLS, or a certificate that does not prove the server's name. */
  | "tls_failed"
  | "connect_timeout"
  | "answer_timeout"
  | "idle_timeout"
  /** By the server, before the answer was whole. */
  | "closed"
  | "not_http"
  | "head_too_large"
  /** `HttpClient.close` was called. */
  | "client_closed"
  /** The handler threw; `cause` is what. A bug, kept from taking other calls with it (X3). */
  | "handler_failed";

/** A failed call. Messages may hold addresses: they are for logs, not for clients. */
export class ClientError extends Error {
  readonly code: ClientErrorCode;

  constructor(code: ClientErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ClientError";
    this.code = code;
  }
}

const systemCodeOf = (error: Error): string =>
  "code" in error && typeof error.code === "string" ? error.code : "";

/** What a socket's error means before the connection stands. */
export function connectError(error: Error, isTls: boolean): ClientError {
  const code = systemCodeOf(error);
  switch (code) {
    case "ECONNREFUSED":
      return new ClientError("refused", error.message, error);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ClientError("name_not_resolved", error.message, error);
    case "ECONNRESET":
    case "EPIPE":
      return new ClientError("closed", error.message, error);
    case "ETIMEDOUT":
      return new ClientError("connect_timeout", error.message, error);
    default: {
      // The operating system's codes begin with E and a letter; those of OpenSSL and of certificates are words or begin with ERR_.
      const isSystem = /^E[A-Z0-9]+$/.test(code) && code !== "EPROTO";
      return new ClientError(isTls && !isSystem ? "tls_failed" : "unreachable", error.message, error);
    }
  }
}
