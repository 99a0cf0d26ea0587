import type { Socket } from "node:net";
import { BurstWriter, type WriteBurst } from "../write-burst.ts";
import { parsePlainHead } from "./plain-head.ts";
import { PlainRequest } from "./plain-request.ts";
import { PlainResponse, type ResponseOwner } from "./plain-response.ts";

/** What a connection tells the server. */
export interface ConnectionOwner {
  onRequest(request: PlainRequest, response: PlainResponse): void;
  /** Something comes that this connection does not read: whoever knows all of HTTP takes the socket, with the bytes read from it. */
  onUnusual(connection: PlainConnection, socket: Socket, bytes: Buffer): void;
  /** It took too long to send its request; the socket is to be answered and closed. */
  onLateRequest(socket: Socket): void;
  onClosed(connection: PlainConnection): void;
}

/** Every wait of a connection has one. */
export interface ConnectionBounds {
  readonly headerBytesMax: number;
  /** From the head of a request to the end of its body. */
  readonly requestTimeoutMs: number;
  /** Between two requests. */
  readonly keepAliveMs: number;
  /** While an answer is made, without a byte in either direction. */
  readonly stalledMsMax: number;
}

/** Larger bodies are for the other parser, which reads no faster than they are taken. */
export const PLAIN_BODY_BYTES_MAX = 1_048_576;
/** Requests that come before their turn: as much as one read brings. More is not read. */
const REST_BYTES_MAX = 65_536;
/** A client gets this long to read its last answer and to close. */
const LINGER_MS = 1_000;
const SECOND_MS = 1_000;
const HEAD_END = Buffer.from("\r\n\r\n");

/**
 * A client's connection that sends plain requests: heads that come whole and can be read in one way only, small bodies with a length. That is what SDKs and load balancers
 * send; for anything else, at the beginning of a request, the socket is handed over for good. Half the cost of `node:http` a call (docs/decisions/0008).
 *
 * idle ─ head ─▶ open ─ answered ─▶ idle … or ▶ lingering. From everywhere ▶ gone; from idle ▶ handed over. Requests that come before their turn wait in `#rest`.
 */
export class PlainConnection implements ResponseOwner {
  readonly keepAliveSeconds: number;
  readonly #socket: Socket;
  readonly #writer: BurstWriter;
  readonly #owner: ConnectionOwner;
  readonly #bounds: ConnectionBounds;
  readonly #remoteAddress: string;
  #state: "idle" | "open" | "lingering" | "gone" | "handed-over" = "idle";
  #request: PlainRequest | undefined;
  #response: PlainResponse | undefined;
  #rest: Buffer | undefined;
  #closesWhenIdle = false;
  /** On the clock of `performance.now`: how long the present state may last. */
  deadlineMs: number;

  constructor(socket: Socket, owner: ConnectionOwner, bounds: ConnectionBounds, burst: WriteBurst) {
    this.#socket = socket;
    this.#writer = new BurstWriter(socket, burst);
    this.#owner = owner;
    this.#bounds = bounds;
    this.#remoteAddress = socket.remoteAddress ?? "";
    this.keepAliveSeconds = Math.floor(bounds.keepAliveMs / SECOND_MS);
    this.deadlineMs = performance.now() + bounds.requestTimeoutMs;
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  /** Closes it as soon as nobody waits for an answer. */
  drain(): void {
    this.#closesWhenIdle = true;
    if (this.#state === "idle") this.destroy();
    else this.#response?.closeAfter();
  }

  destroy(): void {
    this.#writer.flush();
    this.#socket.destroy();
  }

  onDeadline(): void {
    if (this.#state !== "open" || this.#request?.isComplete !== false) {
      this.destroy();
      return;
    }
    this.#writer.flush();
    this.#leave("lingering");
    this.#owner.onLateRequest(this.#socket);
  }

  onWritten(): void {
    // What only queues up behind a client that does not read is no progress.
    if (this.#request?.isComplete !== true || this.#socket.writableNeedDrain) return;
    this.deadlineMs = performance.now() + this.#bounds.stalledMsMax;
  }

  onAnswered(closes: boolean): void {
    const isComplete = this.#request?.isComplete === true;
    this.#request = undefined;
    this.#response = undefined;
    if (this.#state !== "open") return;
    if (closes || this.#closesWhenIdle || !isComplete) {
      this.#state = "lingering";
      this.deadlineMs = performance.now() + LINGER_MS;
      this.#writer.flush();
      this.#socket.end();
      return;
    }
    this.#state = "idle";
    this.deadlineMs = performance.now() + this.#bounds.keepAliveMs;
    this.#goOn();
  }

  /** Requests that came before their turn: one a turn of the event loop, so that others have theirs, and none while the client does not read its answers (S3). */
  #goOn(): void {
    if (this.#rest !== undefined) setImmediate(this.#next);
  }

  readonly #onData = (bytes: Buffer): void => {
    if (this.#state === "idle") {
      if (this.#socket.writableNeedDrain) this.#keep(bytes);
      else this.#begin(bytes);
      return;
    }
    if (this.#state !== "open") return;
    const request = this.#request;
    const taken = request === undefined || request.isComplete ? 0 : request.take(bytes);
    if (request?.isComplete === true) this.onWritten();
    if (taken < bytes.length) this.#keep(taken === 0 ? bytes : bytes.subarray(taken));
  };

  readonly #onDrain = (): void => {
    this.onWritten();
    this.#response?.drain();
    if (this.#state === "idle") this.#goOn();
  };

  /** A client that has closed its side is taken to be gone, as `node:http` does. */
  readonly #onEnd = (): void => {
    this.#socket.destroy();
  };

  /** `close` follows. */
  readonly #onError = (): void => {};

  readonly #onClose = (): void => {
    this.#writer.drop();
    this.#leave("gone");
    this.#owner.onClosed(this);
  };

  readonly #next = (): void => {
    const bytes = this.#rest;
    if (bytes === undefined || this.#state !== "idle" || this.#socket.writableNeedDrain) return;
    this.#rest = undefined;
    if (this.#socket.isPaused()) this.#socket.resume();
    this.#begin(bytes);
  };

  #keep(bytes: Buffer): void {
    this.#rest = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
    if (this.#rest.length > REST_BYTES_MAX) this.#socket.pause();
  }

  /** `bytes` begin with the head of a request. */
  #begin(bytes: Buffer): void {
    if (this.#rest !== undefined) {
      this.#keep(bytes);
      return;
    }
    const end = bytes.indexOf(HEAD_END);
    const isPlain = end !== -1 && end < this.#bounds.headerBytesMax;
    const head = isPlain ? parsePlainHead(bytes.toString("latin1", 0, end + 2)) : undefined;
    if (head === undefined || head.bodyBytes > PLAIN_BODY_BYTES_MAX) {
      this.#handOver(bytes);
      return;
    }
    this.#state = "open";
    const request = new PlainRequest(head, this.#remoteAddress);
    const response = new PlainResponse(this.#socket, this.#writer, this);
    this.#request = request;
    this.#response = response;
    const bodyStart = end + HEAD_END.length;
    const next = bodyStart + request.take(bytes.subarray(bodyStart));
    if (next < bytes.length) this.#keep(bytes.subarray(next));
    const { stalledMsMax, requestTimeoutMs } = this.#bounds;
    this.deadlineMs = performance.now() + (request.isComplete ? stalledMsMax : requestTimeoutMs);
    if (this.#closesWhenIdle) response.closeAfter();
    this.#owner.onRequest(request, response);
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket;
    this.#writer.flush();
    this.#state = "handed-over";
    socket.off("data", this.#onData);
    socket.off("drain", this.#onDrain);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.off("close", this.#onClose);
    this.#owner.onUnusual(this, socket, bytes);
  }

  #leave(state: "gone" | "lingering"): void {
    this.#state = state;
    this.deadlineMs = performance.now() + LINGER_MS;
    this.#rest = undefined;
    const request = this.#request;
    const response = this.#response;
    this.#request = undefined;
    this.#response = undefined;
    // The answer first: who waits for the rest of the request looks at it.
    response?.go();
    request?.break();
  }
}
