import type { RawHeaders } from "../ports/provider-format.ts";
import type { ClientResponse, ResponseListener } from "./http-server/client-call.ts";

const STATUS_ERROR_MIN = 400;
/** Errors of providers are a few hundred bytes. */
const ERROR_BYTES_MAX = 65_536;

/**
 * An answer to a stream that may begin before it is known what it will be: after `begin` the client has a 200 and comments, and whatever comes as an error
 * goes out as the event with which the provider ends a stream that fails. Before, everything passes through as it is.
 */
export class KeepaliveResponse implements ClientResponse {
  readonly #response: ClientResponse;
  readonly #toEvent: (errorBody: Buffer) => Buffer;
  #hasBegun = false;
  #hasHead = false;
  /** The body of an error, where the answer is one. */
  #error: Buffer[] | undefined;
  #errorBytes = 0;

  constructor(response: ClientResponse, toEvent: (errorBody: Buffer) => Buffer) {
    this.#response = response;
    this.#toEvent = toEvent;
  }

  /** Sends the head of a stream. */
  begin(headers: RawHeaders): void {
    this.#hasBegun = true;
    const stream = ["content-type", "text/event-stream; charset=utf-8", "cache-control", "no-cache"];
    this.#response.writeHead(200, [...stream, ...headers]);
    this.#response.flushHead();
  }

  /** What clients of event streams pass over. To be called between `begin` and `writeHead`. */
  comment(text: string): void {
    this.#response.write(Buffer.from(`: ${text}\n\n`));
  }

  get isGone(): boolean {
    return this.#response.isGone;
  }

  get hasHead(): boolean {
    return this.#hasBegun ? this.#hasHead : this.#response.hasHead;
  }

  listen(listener: ResponseListener): void {
    this.#response.listen(listener);
  }

  onLeft(callback: () => void): void {
    this.#response.onLeft(callback);
  }

  closeAfter(): void {
    if (!this.#hasBegun) this.#response.closeAfter();
  }

  writeHead(status: number, headers: RawHeaders): void {
    this.#hasHead = true;
    if (!this.#hasBegun) this.#response.writeHead(status, headers);
    else if (status >= STATUS_ERROR_MIN) this.#error = [];
  }

  flushHead(): void {
    if (!this.#hasBegun) this.#response.flushHead();
  }

  write(bytes: Buffer): boolean {
    if (this.#error === undefined) return this.#response.write(bytes);
    this.#errorBytes += bytes.length;
    if (this.#errorBytes <= ERROR_BYTES_MAX) this.#error.push(bytes);
    return true;
  }

  end(bytes?: Buffer): void {
    if (this.#error === undefined) {
      this.#response.end(bytes);
      return;
    }
    if (bytes !== undefined) this.write(bytes);
    this.#response.end(this.#toEvent(Buffer.concat(this.#error)));
  }

  destroy(): void {
    this.#response.destroy();
  }
}
