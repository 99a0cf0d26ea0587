import type { IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";
import { OperationalError } from "../core/operational-error.ts";
import type { Admission, Engine } from "../engine/engine.ts";
import type { ParsedCall, RawHeaders } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { Exchange } from "./exchange.ts";
import type { GatewaySettings, ProviderRoute } from "./gateway-settings.ts";
import { rateLimitHeaders, upstreamHeaders } from "./headers.ts";
import type { RequestBody } from "./http-client/http-request.ts";
import { identify } from "./identify.ts";
import { sendAnswer } from "./own-answer.ts";
import { assertAnnouncedLength, bodyTooLarge, readBody } from "./request-body.ts";
import { recognisedPath } from "./route.ts";
import type { Upstream } from "./upstream.ts";

export interface ForwardOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly route: { readonly provider: ProviderRoute; readonly path: string };
  readonly requestId: string;
  readonly settings: GatewaySettings;
  readonly engine: Engine;
  readonly telemetry: Telemetry;
  readonly upstream: Upstream;
  /** Calls in flight, so that a shutdown can end them. */
  readonly exchanges: Set<Exchange>;
}

/**
 * One call to a provider: identify → parse → admit → send → relay. Resolves when the call is over and settled; answers everything that
 * can go wrong itself, in the provider's error shape.
 */
export async function forwardCall(options: ForwardOptions): Promise<void> {
  const { request, response, route, requestId, settings, engine } = options;
  const { format } = route.provider;
  try {
    const caller = identify(settings.identification, request.headers, request.socket.remoteAddress ?? "");
    const method = request.method ?? "GET";
    assertForwardable(method);
    const endpoint = format.endpointOf(method, recognisedPath(route.path));
    const isRead = endpoint !== "other" && endpoint !== "models" && method === "POST";
    const call = isRead ? await readCall(options, endpoint) : undefined;
    if (call === undefined) assertAnnouncedLength(request, settings.bounds.uploadBytesMax);
    const admission = await engine.admit({
      caller,
      target: {
        endpoint,
        model: call?.model ?? "",
        account: `${route.provider.name}/${route.provider.account.name}`,
      },
      size: call?.estimate ?? { inputTokens: 0, outputTokensMax: undefined },
    });
    if (response.destroyed || request.errored) {
      if (admission.kind === "admitted") await admission.reservation.release();
      return;
    }
    const headers = answerHeaders(options, admission);
    if (admission.kind === "refused") {
      request.resume();
      // A client that asked first whether to send its body has its answer now, and may send it or not.
      if (request.headers.expect !== undefined && !request.complete) headers.push("connection", "close");
      sendAnswer(response, format.refusal(admission.refusal, requestId), headers);
      return;
    }
    const body = call?.upstreamBody ?? unreadBody(request, response, settings.bounds.uploadBytesMax);
    await relay(options, call, body, admission, headers);
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    answerFailure(options, error);
  }
}

/** TRACE makes the provider send back what it got: the account's key (X1). */
function assertForwardable(method: string): void {
  if (method === "TRACE") throw new OperationalError("invalid_request", "TRACE is not passed on");
}

async function readCall(
  { request, response, route, settings }: ForwardOptions,
  endpoint: ParsedCall["endpoint"],
): Promise<ParsedCall> {
  const type = request.headers["content-type"];
  if (type !== undefined && !/[/+]json\b/i.test(type)) {
    throw new OperationalError(
      "invalid_request",
      `the body must be JSON (content-type: application/json), not ${type.slice(0, 100)}`,
    );
  }
  if (request.headers["content-encoding"] !== undefined) {
    throw new OperationalError("invalid_request", "the body must not be compressed (content-encoding)");
  }
  assertAnnouncedLength(request, settings.bounds.bodyBytesMax);
  if (request.headers.expect !== undefined) response.writeContinue();
  const { format } = route.provider;
  const call = format.parseCall(endpoint, await readBody(request, settings.bounds.bodyBytesMax));
  const model = settings.modelAliases.get(call.model);
  return model === undefined ? call : format.withModel(call, model);
}

/** A body that nobody reads goes through as it comes, counted. */
function unreadBody(request: IncomingMessage, response: ServerResponse, bytesMax: number): RequestBody {
  const { headers } = request;
  if (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined) return null;
  if (headers["content-length"] === "0") return null;
  if (headers.expect !== undefined) response.writeContinue();
  let bytes = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      bytes += chunk.length;
      if (bytes > bytesMax) callback(bodyTooLarge(bytesMax));
      else callback(null, chunk);
    },
  });
  request.on("error", (error) => counted.destroy(error));
  request.on("close", () => {
    if (!request.complete)
      counted.destroy(new OperationalError("invalid_request", "the request was broken off"));
  });
  // Before the call is sent nobody else listens; what is wrong is seen then.
  counted.on("error", () => {});
  // What a provider did not want must not stay in the way of the connection's next request.
  counted.on("close", () => request.resume());
  const announced = headers["content-length"];
  return { stream: request.pipe(counted), length: announced === undefined ? undefined : Number(announced) };
}

/** The caller's limits in the provider's own headers and the IETF's, and ours: computed at admission, so that streams carry them too. */
function answerHeaders({ requestId, route }: ForwardOptions, { limits }: Admission): RawHeaders {
  const { provider } = route;
  const headers = provider.format.limitHeaders(limits, Date.now());
  for (const part of rateLimitHeaders(limits)) headers.push(part);
  headers.push(
    "x-sluice-request-id",
    requestId,
    "x-sluice-wait-ms",
    "0",
    "x-sluice-account",
    provider.account.name,
  );
  return headers;
}

function relay(
  { request, response, route, requestId, settings, telemetry, upstream, exchanges }: ForwardOptions,
  call: ParsedCall | undefined,
  body: RequestBody,
  admission: Extract<Admission, { kind: "admitted" }>,
  headers: RawHeaders,
): Promise<void> {
  const { provider, path } = route;
  return new Promise((resolve) => {
    const exchange = new Exchange(response, {
      format: provider.format,
      call,
      reservation: admission.reservation,
      headers,
      requestId,
      onDisconnect: settings.onDisconnect,
      disconnectDrainMsMax: settings.bounds.disconnectDrainMsMax,
      telemetry,
      onDone: () => {
        exchanges.delete(exchange);
        resolve();
      },
    });
    exchanges.add(exchange);
    const controller = upstream.send(
      provider.origin,
      settings.bounds,
      {
        path: `${provider.basePath}${path}`,
        method: request.method ?? "GET",
        headers: upstreamHeaders(
          request.rawHeaders,
          provider.account.key === undefined ? [] : provider.format.authHeader(provider.account.key),
          settings.identification.identityHeaders,
          call === undefined,
        ),
        body,
      },
      exchange,
    );
    exchange.attach(controller);
  });
}

function answerFailure(
  { request, response, route, requestId }: ForwardOptions,
  error: OperationalError,
): void {
  if (response.destroyed || response.headersSent) return;
  const answer = route.provider.format.failure(error, requestId);
  // What the client still sends is not wanted; a connection that carries it cannot be used again.
  const headers = ["x-sluice-request-id", requestId];
  if (!request.complete) headers.push("connection", "close");
  sendAnswer(response, answer, headers);
}
