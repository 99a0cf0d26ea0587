import type { IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";
import type { RawHeaders } from "../../ports/provider-format.ts";
import type { RequestBody } from "../http-client/http-request.ts";
import { bodyTooLarge, brokenOff } from "./body-errors.ts";
import type { ClientRequest, ClientResponse, ResponseListener } from "./client-call.ts";
import { RequestHeaders } from "./request-headers.ts";

/** Of what nobody waits for any more. A function of the module: one made beside a body would keep that body. */
const ignore = (): void => {};

/** A request that `node:http` has parsed. */
export class NodeRequest implements ClientRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: RequestHeaders;
  readonly remoteAddress: string;
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(message: IncomingMessage, response: ServerResponse) {
    this.#message = message;
    this.#response = response;
    this.method = message.method ?? "GET";
    this.url = message.url ?? "/";
    this.headers = new RequestHeaders(
      message.rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
    );
    this.remoteAddress = message.socket.remoteAddress ?? "";
  }

  get isComplete(): boolean {
    return this.#message.complete;
  }

  get isBroken(): boolean {
    return this.#message.errored !== null;
  }

  readBody(bytesMax: number): Promise<Buffer> {
    this.#askForBody();
    const message = this.#message;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      // The message lives as long as the call, which may wait long and send other bytes than these: its listeners must not keep the body, nor the promise of it.
      const stop = () => {
        message.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
        message.on("error", ignore);
      };
      const onData = (chunk: Buffer) => {
        length += chunk.length;
        if (length <= bytesMax) {
          chunks.push(chunk);
          return;
        }
        stop();
        reject(bodyTooLarge(bytesMax));
      };
      const onEnd = () => {
        stop();
        resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length));
      };
      const onError = (cause: unknown) => {
        stop();
        reject(brokenOff(cause));
      };
      const onClose = () => onError(undefined);
      message.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose);
    });
  }

  passBody(bytesMax: number): RequestBody {
    const message = this.#message;
    const announced = this.headers.get("content-length");
    if (announced === undefined && this.headers.get("transfer-encoding") === undefined) return null;
    if (announced === "0") return null;
    this.#askForBody();
    let bytes = 0;
    const counted = new Transform({
      transform(chunk: Buffer, _encoding, callback) {
        bytes += chunk.length;
        if (bytes > bytesMax) callback(bodyTooLarge(bytesMax));
        else callback(null, chunk);
      },
    });
    message.on("error", (error) => counted.destroy(error));
    message.on("close", () => {
      if (!message.complete) counted.destroy(brokenOff(undefined));
    });
    // Before the call is sent nobody else listens; what is wrong is seen then.
    counted.on("error", () => {});
    // What a provider did not want must not stay in the way of the connection's next request.
    counted.on("close", () => message.resume());
    return { stream: message.pipe(counted), length: announced === undefined ? undefined : Number(announced) };
  }

  discard(): void {
    this.#message.resume();
  }

  #askForBody(): void {
    if (this.headers.get("expect") !== undefined) this.#response.writeContinue();
  }
}

/** An answer that `node:http` writes. */
export class NodeResponse implements ClientResponse {
  readonly #response: ServerResponse;
  #listener: ResponseListener | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get isGone(): boolean {
    return this.#response.destroyed;
  }

  get hasHead(): boolean {
    return this.#response.headersSent;
  }

  listen(listener: ResponseListener): void {
    const isFirst = this.#listener === undefined;
    this.#listener = listener;
    if (!isFirst) return;
    this.#response.on("close", () => this.#listener?.onGone());
    this.#response.on("drain", () => this.#listener?.onDrain());
  }

  onLeft(callback: () => void): void {
    if (this.#response.destroyed) callback();
    else this.#response.once("close", callback);
  }

  closeAfter(): void {
    this.#response.shouldKeepAlive = false;
  }

  writeHead(status: number, headers: RawHeaders): void {
    this.#response.writeHead(status, headers);
  }

  flushHead(): void {
    this.#response.flushHeaders();
  }

  write(bytes: Buffer): boolean {
    return this.#response.write(bytes);
  }

  end(bytes?: Buffer): void {
    this.#response.end(bytes);
  }

  destroy(): void {
    this.#response.destroy();
  }
}
