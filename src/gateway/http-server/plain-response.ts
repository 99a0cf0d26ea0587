import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { RawHeaders } from "../../ports/provider-format.ts";
import { isAll, VALUE_CHARS } from "../field-syntax.ts";
import { BURST_CHARS_MAX, type BurstWriter, type OutListener } from "../write-burst.ts";
import type { ClientResponse, ResponseListener } from "./client-call.ts";

/** What a response needs of its connection. */
export interface ResponseOwner {
  /** The answer is whole. `closes`: nothing may come after it. */
  onAnswered(closes: boolean): void;
  /** Bytes have gone out. */
  onWritten(): void;
  readonly keepAliveSeconds: number;
}

const SECOND_MS = 1_000;
const LAST_CHUNK = "0\r\n\r\n";

let dateSecond = 0;
let dateText = "";

/** The `date` field's value: made once a second. */
function httpDate(): string {
  const second = Math.floor(Date.now() / SECOND_MS);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * SECOND_MS).toUTCString();
  }
  return dateText;
}

/** The answer to a request of a plain connection (RFC 9112, sections 6 and 7.1). */
export class PlainResponse implements ClientResponse, OutListener {
  readonly #socket: Socket;
  readonly #writer: BurstWriter;
  readonly #owner: ResponseOwner;
  #listener: ResponseListener | undefined;
  #onLeft: (() => void) | undefined;
  /** Written, but not gone out: waits for the first part of the body. */
  #head = "";
  #hasHead = false;
  #isChunked = false;
  #isEnded = false;
  #isGone = false;
  #closes = false;

  constructor(socket: Socket, writer: BurstWriter, owner: ResponseOwner) {
    this.#socket = socket;
    this.#writer = writer;
    this.#owner = owner;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  get hasHead(): boolean {
    return this.#hasHead;
  }

  listen(listener: ResponseListener): void {
    this.#listener = listener;
  }

  onLeft(callback: () => void): void {
    if (this.#isGone) callback();
    else this.#onLeft = callback;
  }

  closeAfter(): void {
    this.#closes = true;
  }

  writeHead(status: number, headers: RawHeaders): void {
    this.#hasHead = true;
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
    let hasDate = false;
    let hasLength = false;
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i];
      if (name.length === 4) hasDate ||= name.toLowerCase() === "date";
      else if (name.length === 14) hasLength ||= name.toLowerCase() === "content-length";
      const value = headers[i + 1];
      if (!isAll(VALUE_CHARS, value)) throw new Error(`a value of the header ${name} cannot be sent`);
      head += `${name}: ${value}\r\n`;
    }
    if (!hasDate) head += `date: ${httpDate()}\r\n`;
    head += this.#closes
      ? "connection: close\r\n"
      : `connection: keep-alive\r\nkeep-alive: timeout=${this.#owner.keepAliveSeconds}\r\n`;
    this.#isChunked = !hasLength && status !== 204 && status !== 304;
    this.#head = this.#isChunked ? `${head}transfer-encoding: chunked\r\n\r\n` : `${head}\r\n`;
  }

  flushHead(): void {
    if (this.#isGone || this.#head === "") return;
    this.#writer.write(this.#takeHead());
    this.#owner.onWritten();
  }

  write(bytes: Buffer): boolean {
    if (this.#isGone) return true;
    return this.#send(bytes, "");
  }

  end(bytes?: Buffer): void {
    if (this.#isEnded || this.#isGone) return;
    this.#isEnded = true;
    const closing = this.#isChunked ? LAST_CHUNK : "";
    if (bytes !== undefined && bytes.length > 0) this.#send(bytes, closing);
    else if (this.#head !== "" || closing !== "") this.#writer.write(this.#takeHead() + closing);
    this.#owner.onWritten();
    if (this.#onLeft !== undefined) this.#writer.tellOut(this);
    this.#owner.onAnswered(this.#closes);
  }

  destroy(): void {
    // Of an answer that is cut, the client has what the provider has sent.
    this.#writer.flush();
    this.#socket.destroy();
  }

  /** The connection has taken what there was. */
  drain(): void {
    this.#listener?.onDrain();
  }

  /** The connection is gone. */
  go(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    if (!this.#isEnded) this.#listener?.onGone();
    this.onOut();
  }

  /** All of it is out. */
  onOut(): void {
    const callback = this.#onLeft;
    this.#onLeft = undefined;
    callback?.();
  }

  #takeHead(): string {
    const head = this.#head;
    this.#head = "";
    return head;
  }

  /** Writes the head, where it has not gone out, a part of the body, and what closes it: at once where that is cheap. */
  #send(bytes: Buffer, closing: string): boolean {
    const socket = this.#socket;
    const before = this.#takeHead() + (this.#isChunked ? `${bytes.length.toString(16)}\r\n` : "");
    const after = (this.#isChunked ? "\r\n" : "") + closing;
    this.#owner.onWritten();
    // As latin1 text, which keeps every byte, small pieces are cheaper than two buffers.
    if (bytes.length <= BURST_CHARS_MAX) return this.#writer.write(before + bytes.toString("latin1") + after);
    this.#writer.flush();
    socket.cork();
    if (before !== "") socket.write(before, "latin1");
    const hasRoom = socket.write(bytes);
    if (after !== "") socket.write(after, "latin1");
    socket.uncork();
    return hasRoom;
  }
}
