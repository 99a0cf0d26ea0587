import { Readable } from "node:stream";
import type { RequestBody } from "../http-client/http-request.ts";
import { bodyTooLarge, brokenOff } from "./body-errors.ts";
import type { ClientRequest } from "./client-call.ts";
import type { PlainHead } from "./plain-head.ts";
import type { RequestHeaders } from "./request-headers.ts";

const NONE = Buffer.alloc(0);

/** A request of a plain connection. Its body is small, and is kept until somebody wants it. */
export class PlainRequest implements ClientRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: RequestHeaders;
  readonly remoteAddress: string;
  readonly #bodyBytes: number;
  /** Of the body. */
  #missing: number;
  #body: Buffer = NONE;
  /** Where the body comes in several pieces. */
  #pieces: Buffer[] | undefined;
  #isBroken = false;
  #isDiscarded = false;
  #onEnd: (() => void) | undefined;
  #stream: Readable | undefined;

  constructor({ method, url, headers, bodyBytes }: PlainHead, remoteAddress: string) {
    this.method = method;
    this.url = url;
    this.headers = headers;
    this.remoteAddress = remoteAddress;
    this.#bodyBytes = bodyBytes;
    this.#missing = bodyBytes;
  }

  get isComplete(): boolean {
    return this.#missing === 0;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Takes what belongs to the body, and returns how many bytes that was. */
  take(bytes: Buffer): number {
    const taken = Math.min(this.#missing, bytes.length);
    if (taken === 0) return 0;
    const piece = taken === bytes.length ? bytes : bytes.subarray(0, taken);
    this.#missing -= taken;
    if (this.#stream !== undefined) this.#stream.push(piece);
    else if (!this.#isDiscarded) this.#keep(piece);
    if (this.#missing === 0) {
      this.#stream?.push(null);
      this.#end();
    }
    return taken;
  }

  /** The client is gone. */
  break(): void {
    if (this.#missing === 0 || this.#isBroken) return;
    this.#isBroken = true;
    this.#stream?.destroy(brokenOff(undefined));
    this.#end();
  }

  #end(): void {
    const onEnd = this.#onEnd;
    // It knows the promise of the body, and with that the body.
    this.#onEnd = undefined;
    onEnd?.();
  }

  readBody(bytesMax: number): Buffer | Promise<Buffer> {
    if (this.#bodyBytes > bytesMax) return Promise.reject(bodyTooLarge(bytesMax));
    if (this.#missing === 0) return this.#giveAway();
    return new Promise((resolve, reject) => {
      const end = () => (this.#isBroken ? reject(brokenOff(undefined)) : resolve(this.#giveAway()));
      if (this.#isBroken) end();
      else this.#onEnd = end;
    });
  }

  passBody(bytesMax: number): RequestBody {
    if (this.#bodyBytes > bytesMax) throw bodyTooLarge(bytesMax);
    if (this.#bodyBytes === 0) return null;
    if (this.#missing === 0) return this.#giveAway();
    const stream = new Readable({ read: () => {} });
    // Before the call is sent nobody else listens; what is wrong is seen then.
    stream.on("error", () => {});
    const soFar = this.#giveAway();
    if (soFar.length > 0) stream.push(soFar);
    if (this.#isBroken) stream.destroy(brokenOff(undefined));
    this.#stream = stream;
    // What a provider did not want must not stay in the way of the connection's next request.
    stream.on("close", () => this.discard());
    return { stream, length: this.#bodyBytes };
  }

  discard(): void {
    this.#isDiscarded = true;
    this.#stream = undefined;
    this.#pieces = undefined;
    this.#body = NONE;
  }

  #keep(piece: Buffer): void {
    if (this.#pieces !== undefined) this.#pieces.push(piece);
    else if (this.#missing === 0 && this.#body.length === 0) this.#body = piece;
    else this.#pieces = [piece];
  }

  /** All that has come. The request lives as long as the call, which may wait long and send other bytes than these: it keeps none. */
  #giveAway(): Buffer {
    const body = this.#pieces === undefined ? this.#body : Buffer.concat(this.#pieces);
    this.#pieces = undefined;
    this.#body = NONE;
    return body;
  }
}
