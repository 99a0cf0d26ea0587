import type { CallController, CallDeadlines, ResponseHandler } from "../../src/gateway/http-client/call.ts";
import type { ClientError } from "../../src/gateway/http-client/client-error.ts";
import type { HttpClient } from "../../src/gateway/http-client/http-client.ts";
import type { HttpRequest } from "../../src/gateway/http-client/http-request.ts";

/** Long enough never to be the reason of anything in a test that is not about deadlines. */
export const PATIENT: CallDeadlines = { connectMs: 60_000, answerMs: 60_000, idleMs: 60_000 };

export const GET: HttpRequest = { method: "GET", path: "/", headers: [], body: null };

/** Records what a call tells its caller, and asserts the order that `ResponseHandler` promises. */
export class ClientCall implements ResponseHandler {
  readonly done: Promise<this>;
  /** Settles with the head or the error. */
  readonly headed: Promise<this>;
  controller: CallController | undefined;
  status = 0;
  headers: readonly string[] = [];
  readonly chunks: Buffer[] = [];
  error: ClientError | undefined;
  isSent = false;
  lastCount = 0;
  /** Overridden by tests that look at data as it comes. */
  onChunk: (chunk: Buffer) => void = () => {};
  #phase: "waiting" | "relaying" | "over" = "waiting";
  #onDone: (self: this) => void = () => {};
  #onHeaded: (self: this) => void = () => {};

  constructor() {
    this.done = new Promise((resolve) => {
      this.#onDone = resolve;
    });
    this.headed = new Promise((resolve) => {
      this.#onHeaded = resolve;
    });
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  onSent(): void {
    this.#assert(this.#phase === "waiting" && !this.isSent, "sent twice or late");
    this.isSent = true;
  }

  onHead(status: number, headers: string[]): void {
    this.#assert(this.#phase === "waiting" && this.isSent, "a head at the wrong time");
    this.#phase = "relaying";
    this.status = status;
    this.headers = headers;
    this.#onHeaded(this);
  }

  onData(chunk: Buffer, isLast: boolean): void {
    this.#assert(this.#phase === "relaying" && this.lastCount === 0 && chunk.length > 0, "odd data");
    if (isLast) this.lastCount += 1;
    this.chunks.push(chunk);
    this.onChunk(chunk);
  }

  onEnd(): void {
    this.#assert(this.#phase === "relaying", "an end without a beginning");
    this.#phase = "over";
    this.#onDone(this);
  }

  onError(error: ClientError): void {
    this.#assert(this.#phase !== "over", "an error after the end");
    this.#phase = "over";
    this.error = error;
    this.#onHeaded(this);
    this.#onDone(this);
  }

  #assert(isRight: boolean, what: string): void {
    if (!isRight) throw new Error(`the client broke its promise: ${what}`);
  }
}

/** Sends a call and returns its record. */
export function send(
  client: HttpClient,
  origin: string,
  request: Partial<HttpRequest> = {},
  deadlines: Partial<CallDeadlines> = {},
  call = new ClientCall(),
): ClientCall {
  call.controller = client.send(origin, { ...GET, ...request }, { ...PATIENT, ...deadlines }, call);
  return call;
}
