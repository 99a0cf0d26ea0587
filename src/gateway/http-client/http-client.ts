import { WriteBurst } from "../write-burst.ts";
import { Call, type CallController, type CallDeadlines, type ResponseHandler } from "./call.ts";
import { ClientError } from "./client-error.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { type HttpRequest, requestHead } from "./http-request.ts";
import { type Origin, parseOrigin, SocketOpener } from "./open-socket.ts";

export interface HttpClientOptions {
  /** How long an idle connection is kept, at most: servers may say less. */
  readonly keepAliveMs: number;
  /** Of one origin. Calls beyond them wait, first come first served. */
  readonly connectionsMax: number;
  /** Certificates to trust in place of the well-known ones, PEM. */
  readonly ca?: string | Buffer;
  /** When requests go out: with others' writes of the same turn. Its own, unless it shares one. */
  readonly burst?: WriteBurst;
  /** How often deadlines are looked at: half a second, unless a test is in a hurry. */
  readonly tickMs?: number;
}

/** Deadlines are of seconds and minutes: one timer for all connections costs a call nothing, one for each would cost a microsecond. */
const TICK_MS = 500;

interface Target {
  readonly origin: Origin;
  readonly pool: ConnectionPool;
}

/**
 * A client for HTTP/1.1 over TCP and TLS that does what a gateway needs and no more: one call a connection, kept connections, strict answers,
 * a deadline on every wait. No redirects, no cookies, no decompression, no retries but the one that is no retry: a kept connection that
 * turns out to be closed before the system has taken a byte of the call is replaced by a new one.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #opener: SocketOpener;
  readonly #burst: WriteBurst;
  readonly #targets = new Map<string, Target>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#opener = new SocketOpener(options.ca);
    this.#burst = options.burst ?? new WriteBurst();
  }

  /** `origin`: scheme, host and port. Never throws for what a request holds: that is `invalid_request`. */
  send(
    origin: string,
    request: HttpRequest,
    deadlines: CallDeadlines,
    handler: ResponseHandler,
  ): CallController {
    const target = this.#targets.get(origin) ?? this.#add(origin);
    let head = "";
    let refusal: ClientError | undefined;
    try {
      head = requestHead(request, target.origin.host);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      refusal = error;
    }
    if (this.#isClosed) refusal = new ClientError("client_closed", "the client is closed");
    const call = new Call(request, head, deadlines, handler);
    const { body } = request;
    if (body !== null && "stream" in body) {
      const { stream } = body;
      // Whatever state the call is in, and so that an error without a listener is no crash.
      stream.on("error", (cause) => call.fail(new ClientError("body_failed", "the body failed", cause)));
      if (stream.destroyed)
        refusal ??= new ClientError("body_failed", "the body ended early", stream.errored ?? undefined);
    }
    if (refusal === undefined) target.pool.send(call);
    else process.nextTick((error: ClientError) => call.fail(error), refusal);
    return call;
  }

  /** Closes idle connections at once, and fails calls on their way with `client_closed`. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const { pool } of this.#targets.values()) pool.close();
    this.#targets.clear();
  }

  #add(text: string): Target {
    const { keepAliveMs, connectionsMax, tickMs } = this.#options;
    const origin = parseOrigin(text);
    const { isTls } = origin;
    const options = { open: this.#opener.to(origin), isTls, keepAliveMs, burst: this.#burst };
    const target = { origin, pool: new ConnectionPool(options, connectionsMax) };
    this.#targets.set(text, target);
    this.#timer ??= setInterval(() => this.#onTick(), tickMs ?? TICK_MS).unref();
    return target;
  }

  #onTick(): void {
    const nowMs = performance.now();
    for (const [text, { pool }] of this.#targets) {
      pool.checkDeadlines(nowMs);
      // Origins come and go with the configuration.
      if (pool.isEmpty) this.#targets.delete(text);
    }
    if (this.#targets.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
