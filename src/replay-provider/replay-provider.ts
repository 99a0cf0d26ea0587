import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Clock, systemClock } from "../ports/clock.ts";
import type { Answer } from "./answer.ts";
import { answerControl } from "./control.ts";
import { aborted, deliver, wait } from "./deliver.ts";
import { type EnforcedLimit, EnforcedLimits } from "./enforced-limits.ts";
import { type Decision, Provider } from "./provider.ts";
import { errorAnswer } from "./provider-errors.ts";
import { readBody } from "./read-body.ts";
import type { Recording } from "./recording.ts";
import { RecordingIndex } from "./recording-index.ts";
import { type LoggedRequest, type ReplayStats, RequestLog } from "./request-log.ts";
import { SwitchBoard, type Switches, switchesOfHeaders } from "./switches.ts";
import { type WireFormat, wireFormatOf } from "./wire-format.ts";

export interface ReplayProviderOptions {
  /** Default 127.0.0.1. There is no protection: whoever reaches the port can do everything. */
  readonly host?: string;
  /** Default 0: a free one. */
  readonly port?: number;
  /** Default none: then everything is synthesised. */
  readonly recordings?: readonly Recording[];
  readonly switches?: Switches;
  /** What the provider enforces, per account key. Default nothing. */
  readonly limits?: readonly EnforcedLimit[];
  /** How many of the last requests are kept for `requests`. Default 10,000: enough for a test, and some megabytes. */
  readonly requestsKeptMax?: number;
  /** For the limits. */
  readonly clock?: Clock;
}

export interface ReplayProvider {
  readonly port: number;
  readonly url: string;
  readonly recordings: readonly Recording[];
  /** The last requests, oldest first; those to `/replay/…` left out. */
  readonly requests: readonly LoggedRequest[];
  readonly stats: ReplayStats;
  readonly switches: SwitchBoard;
  /** Replaces the limits; all buckets are full again. */
  setLimits(limits: readonly EnforcedLimit[]): void;
  /** Breaks what is open and gives up the port. May be called twice. */
  close(): Promise<void>;
}

const REQUESTS_KEPT_MAX = 10_000;
/** What is sent where HTTP is expected: the beginning of a TLS handshake, and noise. */
const GARBAGE = Buffer.from(
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03not http at all\r\n\r\n\x00\xff",
  "latin1",
);

/**
 * A provider of recorded answers: it answers like OpenAI and Anthropic from what was recorded, or else with a valid answer made from the request,
 * and misbehaves when switches say so. Resolves when it listens; rejects with the system's error when it cannot.
 *
 * Switches: `options.switches`, `provider.switches`, `PUT /replay/switches` (JSON), and `x-replay-…` headers for one request.
 * Also `x-replay-id` (that recording), `GET /replay/stats`, `GET /replay/recordings`, `PUT /replay/limits`.
 */
export async function startReplayProvider(options: ReplayProviderOptions = {}): Promise<ReplayProvider> {
  const { host = "127.0.0.1", port = 0, recordings = [], clock = systemClock } = options;
  const log = new RequestLog(options.requestsKeptMax ?? REQUESTS_KEPT_MAX);
  const switches = new SwitchBoard(options.switches);
  const provider = new Provider(
    new RecordingIndex(recordings),
    new EnforcedLimits(options.limits ?? [], clock),
  );
  const closing = new AbortController();
  const setLimits = (limits: readonly EnforcedLimit[]) => {
    provider.limits = new EnforcedLimits(limits, clock);
  };
  const edge: Edge = { provider, log, switches, closing: closing.signal };
  const server = createServer((request, response) => {
    const isControl = request.url?.startsWith("/replay/") === true;
    const handled = isControl
      ? answerControl(request, response, { recordings, log, switches, setLimits })
      : answerCall(request, response, edge);
    // Nothing in there rejects but for a mistake in it, or a connection that broke while it was read.
    handled.catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  // Streams are paced for as long as a test likes, and a hung request hangs until the client has had enough.
  server.requestTimeout = 0;
  server.on("connection", (socket) => {
    if (switches.current.resetOnConnect === true) socket.resetAndDestroy();
  });
  const boundPort = await listen(server, host, port);
  return {
    port: boundPort,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${boundPort}`,
    recordings,
    requests: log.requests,
    get stats() {
      return log.stats;
    },
    switches,
    setLimits,
    close: () => close(server, closing),
  };
}

interface Edge {
  readonly provider: Provider;
  readonly log: RequestLog;
  readonly switches: SwitchBoard;
  readonly closing: AbortSignal;
}

/** One request on its way through `answerCall`. */
interface Call {
  readonly response: ServerResponse;
  readonly logged: LoggedRequest;
  readonly format: WireFormat;
  /** Aborted when the client has gone or the provider closes. */
  readonly signal: AbortSignal;
}

async function answerCall(request: IncomingMessage, response: ServerResponse, edge: Edge): Promise<void> {
  const { log, provider } = edge;
  const read = await readBody(request);
  const logged = log.add(request, read.body);
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  edge.closing.addEventListener("abort", () => gone.abort(), { signal: gone.signal });
  const format = wireFormatOf(logged.url, request.headers);
  const call: Call = { response, logged, format, signal: gone.signal };
  const reject = (answer: Answer) => send(call, { outcome: { kind: "rejected" }, answer }, {}, log);
  const switches = effectiveSwitches(request, edge.switches);
  if (switches instanceof Error) return await reject(errorAnswer(format, 400, { message: switches.message }));
  if (await misbehaved(response, switches, gone.signal)) {
    log.decided(logged, { kind: "injected" });
    return log.ended(logged, gone.signal.aborted ? "closed" : "cut");
  }
  if (read.isTooLarge) return await reject(errorAnswer(format, 413));
  const decision = provider.decide({
    method: logged.method,
    path: logged.url,
    headers: request.headers,
    body: logged.body,
    format,
    switches,
    takeFailNext: () => edge.switches.takeFailNext(),
  });
  const { kind } = decision.outcome;
  // Chunks and cuts are for answers; errors come whole.
  const applied =
    kind === "recorded" || kind === "synthesised" ? switches : { latencyMs: switches.latencyMs };
  await send(call, decision, applied, log);
}

function effectiveSwitches(request: IncomingMessage, board: SwitchBoard): Switches | Error {
  try {
    return { ...board.current, ...switchesOfHeaders(request.headers) };
  } catch (error) {
    return error instanceof Error ? error : new Error("not understood");
  }
}

async function send(call: Call, decision: Decision, switches: Switches, log: RequestLog): Promise<void> {
  const { response, logged, format, signal } = call;
  const { outcome, answer } = decision;
  log.decided(logged, outcome, answer.usage);
  logged.status = answer.status;
  if (switches.latencyMs !== undefined) await wait(switches.latencyMs, signal);
  const isGone = signal.aborted;
  const end = isGone
    ? "closed"
    : await deliver(response, answer, { format, switches, signal, progress: logged.sent });
  log.ended(logged, end);
}

/** Does what a switch says instead of an answer; returns whether one did. */
async function misbehaved(
  response: ServerResponse,
  switches: Switches,
  signal: AbortSignal,
): Promise<boolean> {
  if (switches.resetOnConnect === true) {
    response.socket?.resetAndDestroy();
    return true;
  }
  if (switches.hang === true) {
    await aborted(signal);
    return true;
  }
  if (switches.garbage === true) {
    response.socket?.end(GARBAGE);
    return true;
  }
  return false;
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      const address = server.address();
      if (address === null || typeof address === "string") reject(new Error("a TCP server has no port"));
      else resolve(address.port);
    });
  });
}

async function close(server: Server, closing: AbortController): Promise<void> {
  closing.abort();
  if (!server.listening) return;
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
