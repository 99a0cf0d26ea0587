import type { Socket } from "node:net";
import { ClientError } from "./client-error.ts";
import type { StreamBody } from "./http-request.ts";

export interface UploadEvents {
  /** A piece was handed to the socket, or the socket can take more. */
  onProgress(): void;
  /** The body is out as far as this process is concerned. */
  onSent(): void;
  onError(error: ClientError): void;
}

/**
 * Sends a stream as a request's body, in chunks where its length is not known, no faster than the socket takes it. One object a call.
 * A body longer or shorter than announced would become part of the next request, or take it as its own: it is an error.
 */
export class Upload {
  readonly #body: StreamBody;
  readonly #socket: Socket;
  readonly #events: UploadEvents;
  #sentBytes = 0;
  #isOver = false;

  constructor(body: StreamBody, socket: Socket, events: UploadEvents) {
    this.#body = body;
    this.#socket = socket;
    this.#events = events;
  }

  start(): void {
    const { stream } = this.#body;
    stream.on("data", this.#onData);
    stream.on("end", this.#onEnd);
    stream.on("close", this.#onClose);
    stream.resume();
  }

  /** The socket can take more. */
  resume(): void {
    if (!this.#isOver) this.#body.stream.resume();
  }

  /** Lets go of the stream. */
  stop(): void {
    this.#isOver = true;
    const { stream } = this.#body;
    stream.off("data", this.#onData);
    stream.off("end", this.#onEnd);
    stream.off("close", this.#onClose);
    // Nothing of it may get lost: a call that was not sent is sent again.
    stream.pause();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#sentBytes += chunk.length;
    const { length, stream } = this.#body;
    if (length !== undefined && this.#sentBytes > length) {
      this.#fail("the body is longer than announced");
      return;
    }
    // A chunk of no bytes would be the last one.
    if (chunk.length === 0) return;
    this.#events.onProgress();
    const takesMore = length === undefined ? this.#writeChunk(chunk) : this.#socket.write(chunk);
    if (!takesMore) stream.pause();
  };

  #writeChunk(chunk: Buffer): boolean {
    const socket = this.#socket;
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
    socket.write(chunk);
    const takesMore = socket.write("\r\n", "latin1");
    socket.uncork();
    return takesMore;
  }

  readonly #onEnd = (): void => {
    const { length } = this.#body;
    if (length !== undefined && this.#sentBytes < length) {
      this.#fail("the body is shorter than announced");
      return;
    }
    this.stop();
    if (length === undefined) this.#socket.write("0\r\n\r\n", "latin1");
    this.#events.onSent();
  };

  readonly #onClose = (): void => this.#fail("the body ended early");

  #fail(what: string): void {
    const cause = this.#body.stream.errored ?? undefined;
    this.stop();
    this.#events.onError(new ClientError("body_failed", what, cause));
  }
}
