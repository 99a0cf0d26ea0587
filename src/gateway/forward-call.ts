import { PRIORITIES } from "../core/fairness/permit.ts";
import type { OpenList } from "../core/open-list.ts";
import { OperationalError } from "../core/operational-error.ts";
import { modelName } from "../core/policy/call-target.ts";
import type { Priority } from "../core/policy/policy.ts";
import type { Decision } from "../engine/admission.ts";
import type { Engine } from "../engine/engine.ts";
import type { Endpoint, ParsedCall, ProviderFormat, RawHeaders } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { awaitTurn } from "./await-turn.ts";
import { Exchange } from "./exchange.ts";
import type { GatewaySettings, ProviderRoute } from "./gateway-settings.ts";
import { rateLimitHeaders, upstreamHeaders } from "./headers.ts";
import type { RequestBody } from "./http-client/http-request.ts";
import { bodyTooLarge } from "./http-server/body-errors.ts";
import type { ClientRequest, ClientResponse } from "./http-server/client-call.ts";
import { identify } from "./identify.ts";
import { KeepaliveResponse } from "./keepalive-response.ts";
import { sendAnswer } from "./own-answer.ts";
import { recognisedPath } from "./route.ts";
import type { Upstream } from "./upstream.ts";

export interface ForwardOptions {
  readonly request: ClientRequest;
  readonly response: ClientResponse;
  readonly route: { readonly provider: ProviderRoute; readonly path: string };
  readonly requestId: string;
  readonly settings: GatewaySettings;
  readonly engine: Engine;
  readonly telemetry: Telemetry;
  readonly upstream: Upstream;
  /** Calls in flight, so that a shutdown can end them. */
  readonly exchanges: OpenList<Exchange>;
}

/** A call, with the format that its path is of. */
interface RecognisedCall extends ForwardOptions {
  readonly format: ProviderFormat;
  readonly endpoint: Endpoint;
}

/** Many hosts speak both formats on one origin: what a path of the other one uses is metered, too. */
function recognise(options: ForwardOptions): RecognisedCall {
  const { request, route, settings } = options;
  const path = recognisedPath(route.path);
  const own = route.provider.format;
  const endpoint = own.endpointOf(request.method, path);
  if (endpoint !== "other") return { ...options, format: own, endpoint };
  for (const format of settings.formats) {
    const other = format.endpointOf(request.method, path);
    if (other !== "other" && other !== "models") return { ...options, format, endpoint: other };
  }
  return { ...options, format: own, endpoint };
}

type Admitted = Extract<Decision, { readonly kind: "admitted" }>;

/** What a held connection takes of memory beside its body. */
const CONNECTION_BYTES = 4_096;

/**
 * One call to a provider: identify → parse → admit → (wait) → send → relay. Resolves when the call is over and settled; answers everything that
 * can go wrong itself, in the provider's error shape.
 */
export async function forwardCall(arrived: ForwardOptions): Promise<void> {
  const options = recognise(arrived);
  const { request, response, route, requestId, settings, engine, format, endpoint } = options;
  /** As soon as there is something to say before the answer is known. */
  let early: KeepaliveResponse | undefined;
  try {
    const caller = identify(settings.identification, request.headers, request.remoteAddress);
    const { method } = request;
    assertForwardable(method);
    const isRead = endpoint !== "other" && endpoint !== "models" && method === "POST";
    if (isUnread(options)) engine.assertMayPassUnread(caller, recognisedPath(route.path));
    const call = isRead ? await readCall(options) : undefined;
    if (call === undefined) assertReadable(request, settings.bounds.uploadBytesMax);
    const admission = await engine.admit({
      caller,
      target: {
        endpoint,
        model: modelName(call?.model ?? ""),
        account: accountOf(route),
      },
      size: call?.estimate ?? { inputTokens: 0, outputTokensMax: undefined },
      isStreamed: call?.stream ?? false,
      priority: priorityOf(request),
      bytes: CONNECTION_BYTES + (call?.upstreamBody.length ?? 0),
    });
    let decision: Decision | undefined;
    if (admission.kind === "waiting") {
      if (call?.stream && admission.keepalive) {
        early = new KeepaliveResponse(response, (body) => format.inStreamError(call, body));
      }
      decision = await awaitTurn(admission, early ?? response, ownHeaders(options));
    } else {
      decision = admission;
    }
    if (decision === undefined) return;
    if (response.isGone || request.isBroken) {
      if (decision.kind === "admitted") await decision.reservation.release();
      return;
    }
    const shown = early === undefined ? options : { ...options, response: early };
    const headers = answerHeaders(options, decision);
    if (decision.kind === "refused") {
      request.discard();
      // A client that asked first whether to send its body has its answer now, and may send it or not.
      if (!request.isComplete && request.headers.get("expect") !== undefined) response.closeAfter();
      sendAnswer(shown.response, format.refusal(decision.refusal, requestId), headers);
      return;
    }
    await send(shown, call, decision, headers);
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    answerFailure({ ...options, response: early ?? response }, error);
  }
}

/** Sends an admitted call. Whatever keeps it from being sent gives back what it holds. */
async function send(
  options: RecognisedCall,
  call: ParsedCall | undefined,
  decision: Admitted,
  headers: RawHeaders,
): Promise<void> {
  const { request, route, settings, engine } = options;
  try {
    if (isUnread(options)) {
      engine.passedUnread(accountOf(route), recognisedPath(route.path));
    }
    const body = call?.upstreamBody ?? request.passBody(settings.bounds.uploadBytesMax);
    await relay(options, call, body, decision, headers);
  } catch (error) {
    await decision.reservation.release();
    throw error;
  }
}

/** Methods that begin nothing. */
const LOOKS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "DELETE"]);

/** Whether what the call begins is not counted. */
const isUnread = ({ endpoint, request }: RecognisedCall) =>
  endpoint === "other" && !LOOKS.has(request.method);

/** As limits are counted per it. */
const accountOf = ({ provider }: ForwardOptions["route"]) => `${provider.name}/${provider.account.name}`;

/** A client may let its own work wait for others'. */
function priorityOf({ headers }: ClientRequest): Priority | undefined {
  const value = headers.get("x-sluice-priority");
  if (value === undefined || value === "") return undefined;
  const found = PRIORITIES.find((priority) => priority === value);
  if (found !== undefined) return found;
  throw new OperationalError(
    "invalid_request",
    `x-sluice-priority must be one of ${PRIORITIES.join(", ")}, not ${value.slice(0, 32)}`,
  );
}

/** TRACE makes the provider send back what it got: the account's key (X1). */
function assertForwardable(method: string): void {
  if (method === "TRACE") throw new OperationalError("invalid_request", "TRACE is not passed on");
}

async function readCall({ request, settings, format, endpoint }: RecognisedCall): Promise<ParsedCall> {
  const type = request.headers.get("content-type");
  if (type !== undefined && !/[/+]json\b/i.test(type)) {
    throw new OperationalError(
      "invalid_request",
      `the body must be JSON (content-type: application/json), not ${type.slice(0, 100)}`,
    );
  }
  if (request.headers.get("content-encoding") !== undefined) {
    throw new OperationalError("invalid_request", "the body must not be compressed (content-encoding)");
  }
  assertReadable(request, settings.bounds.bodyBytesMax);
  const read = request.readBody(settings.bounds.bodyBytesMax);
  // Mostly it is here already, and a turn of the loop is not for free.
  const call = format.parseCall(endpoint, Buffer.isBuffer(read) ? read : await read);
  const model = settings.modelAliases.get(call.model);
  return model === undefined ? call : format.withModel(call, model);
}

/** Throws for what the head already says of the body, before anything is held for the call or a byte of it is read. */
function assertReadable({ headers }: ClientRequest, bytesMax: number): void {
  if (Number(headers.get("content-length") ?? 0) > bytesMax) throw bodyTooLarge(bytesMax);
  const coding = headers.get("transfer-encoding");
  if (coding === undefined || coding.toLowerCase() === "chunked") return;
  // Chunks are read and written anew; what else a body is wrapped in would be sent on without its name.
  throw new OperationalError(
    "invalid_request",
    "the body must not have a transfer encoding other than chunked",
  );
}

/** The caller's limits in the provider's own headers and the IETF's, and ours: computed at admission, so that streams carry them too. */
function answerHeaders(options: RecognisedCall, { limits, waitedMs }: Decision): RawHeaders {
  const headers = options.format.limitHeaders(limits, Date.now());
  for (const part of rateLimitHeaders(limits)) headers.push(part);
  for (const part of ownHeaders(options)) headers.push(part);
  headers.push("x-sluice-wait-ms", String(waitedMs));
  return headers;
}

/** What is known before the call is decided. */
function ownHeaders({ requestId, route }: ForwardOptions): RawHeaders {
  return ["x-sluice-request-id", requestId, "x-sluice-account", route.provider.account.name];
}

function relay(
  {
    request,
    response,
    route,
    requestId,
    settings,
    telemetry,
    upstream,
    exchanges,
    format,
    engine,
  }: RecognisedCall,
  call: ParsedCall | undefined,
  body: RequestBody,
  decision: Admitted,
  headers: RawHeaders,
): Promise<void> {
  const { provider, path } = route;
  return new Promise((resolve) => {
    const exchange = new Exchange(response, {
      format,
      call,
      reservation: decision.reservation,
      headers,
      requestId,
      onDisconnect: settings.onDisconnect,
      disconnectDrainMsMax: settings.bounds.disconnectDrainMsMax,
      telemetry,
      onUnreadable: (encoding) => engine.answeredUnreadably(accountOf(route), encoding),
      onDone: () => {
        exchanges.remove(exchange);
        resolve();
      },
    });
    exchanges.add(exchange);
    const controller = upstream.send(
      provider.origin,
      settings.bounds,
      {
        path: `${provider.basePath}${path}`,
        method: request.method,
        headers: upstreamHeaders(
          request.headers.raw,
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
  { request, response, requestId, format }: RecognisedCall,
  error: OperationalError,
): void {
  if (response.isGone || response.hasHead) return;
  const answer = format.failure(error, requestId);
  // What the client still sends is not wanted; a connection that carries it cannot be used again.
  if (!request.isComplete) response.closeAfter();
  sendAnswer(response, answer, ["x-sluice-request-id", requestId]);
}
