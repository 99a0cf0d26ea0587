import type { ClientError } from "./client-error.ts";
import type { Connection } from "./connection.ts";
import type { HttpRequest } from "./http-request.ts";

/** Every wait of a call has one. Kept with the client's coarse timer: never early, late by one of its ticks. */
export interface CallDeadlines {
  /** To make a connection, TLS included. */
  readonly connectMs: number;
  /** For the answer's head, from when the last part of the request was taken; and for a free connection. */
  readonly answerMs: number;
  /** Between two pieces of the answer; it stands still while the call is paused. */
  readonly idleMs: number;
}

/**
 * What a call tells its caller: `onSent`? (`onHead` `onData`* `onEnd` | `onError`), with `onError` possible at any point before `onEnd`;
 * nothing after `abort`. Only `onSent` may be called before `send` has returned.
 */
export interface ResponseHandler {
  /** From now on bytes of the request may have reached the server. Without it, they have not, whatever happened. */
  onSent(): void;
  /** Names as the server wrote them, and values, in turn. */
  onHead(status: number, headers: string[]): void;
  /** Bytes of the body as they come, without the framing, never empty. The handler may keep them. `isLast`: `onEnd` follows at once. */
  onData(chunk: Buffer, isLast: boolean): void;
  onEnd(): void;
  onError(error: ClientError): void;
}

/** The caller's hand on its call. Without effect once the call is over. */
export interface CallController {
  /** Ends the call and its connection; nothing more is told. */
  abort(): void;
  /** No more data than what has been read already: the server has to wait (S3). */
  pause(): void;
  resume(): void;
}

/** One request on its way, bound to a connection or waiting for one. */
export class Call implements CallController {
  readonly request: HttpRequest;
  /** The request's head as it goes out, latin1. */
  readonly head: string;
  readonly deadlines: CallDeadlines;
  readonly handler: ResponseHandler;
  /** Set by the connection that carries it, from its start. */
  connection: Connection | undefined;
  /** While waiting for a connection, on the clock of `performance.now`. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** Takes it out of the line for a connection; set by the pool. */
  onGone: ((call: Call) => void) | undefined;
  #isOver = false;

  constructor(request: HttpRequest, head: string, deadlines: CallDeadlines, handler: ResponseHandler) {
    this.request = request;
    this.head = head;
    this.deadlines = deadlines;
    this.handler = handler;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  abort(): void {
    if (this.#isOver) return;
    this.#leave();
  }

  pause(): void {
    this.connection?.pause();
  }

  resume(): void {
    this.connection?.resume();
  }

  /** The answer is whole. The connection has already let go of it. */
  end(): void {
    this.#isOver = true;
    this.connection = undefined;
    this.#dropBody();
    this.handler.onEnd();
  }

  /** Ends it with an error, and its connection with it. */
  fail(error: ClientError): void {
    if (this.#isOver) return;
    this.#leave();
    this.handler.onError(error);
  }

  #leave(): void {
    this.#isOver = true;
    const { connection } = this;
    this.connection = undefined;
    this.onGone?.(this);
    connection?.destroy();
    this.#dropBody();
  }

  /** Of a body that was not wanted to its end. */
  #dropBody(): void {
    const { body } = this.request;
    if (body !== null && "stream" in body) body.stream.destroy();
  }
}
