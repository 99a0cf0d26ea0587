import type { Socket } from "node:net";
import type { BurstMember, WriteBurst } from "../write-burst.ts";
import type { Call } from "./call.ts";
import { ClientError, type ClientErrorCode, connectError } from "./client-error.ts";
import type { OnRead } from "./open-socket.ts";
import type { ResponseHead } from "./response-head.ts";
import { type ResponseEvents, ResponseParser } from "./response-parser.ts";
import { Upload } from "./upload.ts";

/** What a connection tells its pool. */
export interface ConnectionOwner {
  /** It is idle and can take a call. */
  onFree(connection: Connection): void;
  /** It is gone; called once. Its call, if there was one, has failed or been refused. */
  onClosed(connection: Connection): void;
  /** It has closed, and nothing of the call has gone out: the call can be sent over another one. */
  onRefused(call: Call): void;
}

/** How connections of an origin are made and kept. */
export interface ConnectionOptions {
  readonly open: (onRead: OnRead) => Socket;
  readonly isTls: boolean;
  readonly keepAliveMs: number;
  /** When requests go out. */
  readonly burst: WriteBurst;
}

/** Bodies up to this size go out in one string with the head: one system call, no list of buffers (bench/FINDINGS-bare-proxy.md). */
const ONE_WRITE_BYTES_MAX = 16_384;
/** An idle connection is given up so long before the server says that it will, so that no call is sent into a closing one. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

/**
 * One socket, which carries one call at a time.
 *
 * connecting ─▶ waiting (request sent) ─ head ─▶ relaying ─ end ─▶ idle ─ start ─▶ queued (for the end of the turn) ─▶ waiting … From everywhere ─▶ closed:
 * by the server, an error, a deadline, an abort, an answer that does not end where it should. A kept connection that turns out to be closed while its call is `queued`, or
 * of which the operating system takes not a byte, refuses the call. `deadlineMs` always says how long the present state may last; the pool looks at it.
 */
export class Connection implements ResponseEvents, BurstMember {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #owner: ConnectionOwner;
  readonly #parser = new ResponseParser(this);
  #state: "connecting" | "queued" | "waiting" | "relaying" | "idle" | "closed" = "connecting";
  #call: Call | undefined;
  #upload: Upload | undefined;
  #isPaused = false;
  #keepsAlive = true;
  #keepAliveMs: number;
  /** On the clock of `performance.now`. */
  deadlineMs: number;

  /** Begins to connect, and then sends the call. */
  constructor(options: ConnectionOptions, owner: ConnectionOwner, call: Call) {
    this.#options = options;
    this.#owner = owner;
    this.#keepAliveMs = options.keepAliveMs;
    this.#call = call;
    call.connection = this;
    this.deadlineMs = performance.now() + call.deadlines.connectMs;
    this.#socket = options.open((byteCount, buffer) => this.#onRead(byteCount, buffer));
    this.#socket.on(options.isTls ? "secureConnect" : "connect", () => this.#onConnect());
    this.#socket.on("drain", () => this.#onDrain());
    this.#socket.on("error", (error) => this.#onSocketError(error));
    this.#socket.on("end", () => this.#onSocketEnd());
    this.#socket.on("close", () => this.#onSocketClose());
  }

  /** Whether a call may be given to it: not when the server has closed its side, or is about to. */
  isUsable(nowMs: number): boolean {
    const socket = this.#socket;
    return (
      this.#state === "idle" &&
      nowMs < this.deadlineMs &&
      socket.writable &&
      socket.readable &&
      socket.errored === null
    );
  }

  /** Sends a call over the idle connection, with the turn's other writes. */
  start(call: Call): void {
    this.#call = call;
    call.connection = this;
    this.#state = "queued";
    this.deadlineMs = performance.now() + call.deadlines.answerMs;
    this.#options.burst.add(this);
  }

  /** The turn has ended. */
  flush(): void {
    const call = this.#call;
    if (this.#state !== "queued" || call === undefined) return;
    if (this.#send(call)) return;
    this.#upload?.stop();
    this.#refuse(call);
  }

  /** False: the operating system would not take a byte of it since the connection had been closed. */
  #send(call: Call): boolean {
    this.#state = "waiting";
    this.#keepsAlive = true;
    this.#parser.start(call.request.method);
    this.#write(call);
    // A write that fails at once is one that the system refused as a whole.
    if (this.#socket.errored !== null) return false;
    call.handler.onSent();
    return true;
  }

  /** Closes it, and gives its call back, of which nothing has gone out. */
  #refuse(call: Call): void {
    call.connection = undefined;
    this.destroy();
    this.#owner.onRefused(call);
  }

  /** The deadline is over: closes an idle connection, fails the call of a busy one. */
  onDeadline(): void {
    switch (this.#state) {
      case "connecting":
        this.#fail("connect_timeout", "the connection could not be made in time");
        return;
      case "queued":
      case "waiting":
        this.#fail("answer_timeout", "the server did not answer in time");
        return;
      case "relaying":
        this.#fail("idle_timeout", "the server stopped in the middle of its answer");
        return;
      case "idle":
      case "closed":
        this.destroy();
        return;
    }
  }

  pause(): void {
    if (this.#state !== "relaying" || this.#isPaused) return;
    this.#isPaused = true;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#touch();
    this.#socket.resume();
  }

  /** Closes it without a word to its call. */
  destroy(): void {
    this.#call = undefined;
    this.#close(undefined);
  }

  /** Closes it, and fails its call. */
  fail(error: ClientError): void {
    this.#close(error);
  }

  onHead({ status, headers, keepsAlive, keepAliveMs }: ResponseHead): void {
    const call = this.#call!;
    this.#state = "relaying";
    this.#keepsAlive = keepsAlive;
    const { keepAliveMs: ours } = this.#options;
    this.#keepAliveMs = keepAliveMs === undefined ? ours : Math.min(ours, keepAliveMs - KEEP_ALIVE_MARGIN_MS);
    this.#touch();
    call.handler.onHead(status, headers);
  }

  onData(piece: Buffer, isLast: boolean): void {
    if (!this.#isPaused) this.#touch();
    this.#call!.handler.onData(piece, isLast);
  }

  onEnd(hasRest: boolean): void {
    const call = this.#call!;
    // An answer that came before the request was out leaves the server waiting for the rest of it.
    const isOut = this.#upload === undefined && this.#socket.writableLength === 0;
    const isReusable = isOut && this.#keepsAlive && !hasRest && this.#keepAliveMs > 0;
    this.#call = undefined;
    if (!isReusable) this.destroy();
    call.end();
    if (this.#state === "closed") return;
    this.#state = "idle";
    this.deadlineMs = performance.now() + this.#keepAliveMs;
    // An idle connection is read, so that its end is seen.
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#socket.resume();
    }
    this.#owner.onFree(this);
  }

  #onConnect(): void {
    const call = this.#call;
    if (this.#state !== "connecting" || call === undefined) return;
    this.deadlineMs = performance.now() + call.deadlines.answerMs;
    if (!this.#send(call)) this.#fail("closed", "the server closed the new connection");
  }

  #write(call: Call): void {
    const { body } = call.request;
    const socket = this.#socket;
    if (body === null) {
      socket.write(call.head, "latin1");
      return;
    }
    if ("stream" in body) {
      socket.write(call.head, "latin1");
      this.#upload = new Upload(body, socket, {
        onProgress: () => this.#touch(),
        onSent: () => {
          this.#upload = undefined;
          this.#touch();
        },
        onError: (error) => this.#close(error),
      });
      this.#upload.start();
      return;
    }
    if (body.length <= ONE_WRITE_BYTES_MAX) {
      socket.write(call.head + body.toString("latin1"), "latin1");
      return;
    }
    socket.cork();
    socket.write(call.head, "latin1");
    socket.write(body);
    socket.uncork();
  }

  /** Something moved: the present wait begins anew. */
  #touch(): void {
    const call = this.#call;
    if (call === undefined || this.#isPaused) return;
    const { answerMs, idleMs } = call.deadlines;
    this.deadlineMs = performance.now() + (this.#state === "relaying" ? idleMs : answerMs);
  }

  /** `buffer` is shared by all connections and holds these bytes during this call only. */
  #onRead(byteCount: number, buffer: Buffer): boolean {
    const call = this.#call;
    if (call === undefined || this.#state === "connecting" || this.#state === "closed") {
      // Nothing was asked: what comes is no answer to the next call.
      this.destroy();
      return false;
    }
    if (this.#state === "queued") {
      this.#refuse(call);
      return false;
    }
    // Copied, since a slow reader's response keeps what it is given; small ones come from Node's pool (docs/decisions/0006).
    const bytes = Buffer.allocUnsafe(byteCount);
    buffer.copy(bytes, 0, 0, byteCount);
    this.#parse(call, bytes);
    return true;
  }

  /** Nothing for bytes: the server has closed its side. */
  #parse(call: Call, bytes: Buffer | undefined): void {
    try {
      if (bytes !== undefined) this.#parser.push(bytes);
      else if (!this.#parser.finish()) throw new ClientError("closed", "the server closed the connection");
    } catch (error) {
      const failure =
        error instanceof ClientError ? error : new ClientError("handler_failed", "the handler threw", error);
      // Over already: it was the handler's `onEnd` that failed.
      if (call.isOver) call.handler.onError(failure);
      this.#close(failure);
    }
  }

  #onDrain(): void {
    if (this.#state === "waiting") this.#touch();
    this.#upload?.resume();
  }

  #onSocketError(error: Error): void {
    if (this.#state === "connecting") this.#close(connectError(error, this.#options.isTls));
    else if (this.#state === "queued" && this.#call !== undefined) this.#refuse(this.#call);
    else this.#close(new ClientError("closed", error.message, error));
  }

  #onSocketEnd(): void {
    if (this.#call === undefined || this.#state === "connecting")
      this.#fail("closed", "the server closed the connection");
    else if (this.#state === "queued") this.#refuse(this.#call);
    else this.#parse(this.#call, undefined);
  }

  #onSocketClose(): void {
    if (this.#state === "queued" && this.#call !== undefined) this.#refuse(this.#call);
    else this.#fail("closed", "the server closed the connection");
  }

  #fail(code: ClientErrorCode, message: string): void {
    this.#close(new ClientError(code, message));
  }

  #close(error: ClientError | undefined): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#parser.stop();
    this.#upload?.stop();
    this.#upload = undefined;
    this.#socket.destroy();
    const call = this.#call;
    this.#call = undefined;
    if (call !== undefined && error !== undefined) call.fail(error);
    this.#owner.onClosed(this);
  }
}
