import { ChunkedDecoder } from "./chunked-decoder.ts";
import { ClientError } from "./client-error.ts";
import { parseHead, type ResponseHead, tooLarge } from "./response-head.ts";

/** What an answer consists of, in this order: one head, any number of pieces, the end. */
export interface ResponseEvents {
  /** Never an interim (1xx) one. */
  onHead(head: ResponseHead): void;
  /** A piece of the body, never empty, without copying: part of what was pushed. `isLast`: nothing but the end comes after it. */
  onData(piece: Buffer, isLast: boolean): void;
  /** `hasRest`: the server sent more than this answer, so the connection cannot be trusted with another one. */
  onEnd(hasRest: boolean): void;
}

/** Providers' heads have 1 to 3 kB; node:http's own default is 16 kB, and some proxies in front of providers add large cookies. */
const HEAD_BYTES_MAX = 65_536;
/** Interim answers before the real one: 100 and 103 each come once or not at all. */
const INTERIM_MAX = 16;
/** For the first part of a head that comes in parts. */
const HELD_BYTES_MIN = 4_096;

const HEAD_END = Buffer.from("\r\n\r\n");
const BEGINNING = Buffer.from("HTTP/1.");
const CR = 13;
const LF = 10;
const SWITCHING_PROTOCOLS = 101;
const STATUS_FINAL_MIN = 200;

const NONE = Buffer.alloc(0);

/**
 * Reads answers from bytes as they come, split at any place. Pure: no socket, no clock. One object a connection.
 *
 * idle ─ start ─▶ head ─▶ length | chunked | until-close ─▶ idle. `stop` leads to `idle` from everywhere: an event handler may call it, and
 * nothing more of the pushed bytes is looked at. Bytes while idle are the caller's mistake.
 */
export class ResponseParser {
  readonly #events: ResponseEvents;
  #state: "idle" | "head" | "length" | "chunked" | "until-close" = "idle";
  #method = "";
  #interim = 0;
  /** The beginning of a head that has not come whole: `#heldBytes` of it. */
  #held = NONE;
  #heldBytes = 0;
  /** Of a body with a length. */
  #missing = 0;
  #decoder: ChunkedDecoder | undefined;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** The next bytes answer a request of this method. */
  start(method: string): void {
    this.#state = "head";
    this.#method = method;
    this.#interim = 0;
    this.#heldBytes = 0;
  }

  stop(): void {
    this.#state = "idle";
    this.#held = NONE;
    this.#decoder = undefined;
  }

  /** Takes the next bytes, which must stay as they are from now on. Throws a `ClientError`: `not_http` or `head_too_large`. */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length && this.#state !== "idle") {
      switch (this.#state) {
        case "head":
          at = this.#onHeadBytes(bytes, at);
          break;
        case "length":
          at = this.#onLengthBytes(bytes, at);
          break;
        case "chunked":
          at = this.#onChunkedBytes(bytes, at);
          break;
        case "until-close":
          this.#events.onData(at === 0 ? bytes : bytes.subarray(at), false);
          return;
      }
    }
  }

  /** The server has closed its side. Ends a body that lasts until then and returns true; false when an answer was cut. */
  finish(): boolean {
    if (this.#state !== "until-close") return false;
    this.#end(true);
    return true;
  }

  #onHeadBytes(bytes: Buffer, at: number): number {
    if (this.#heldBytes > 0) return this.#onHeldHead(bytes, at);
    const end = bytes.indexOf(HEAD_END, at);
    if (end === -1) {
      this.#hold(bytes, at);
      assertLines(this.#held, 0, this.#heldBytes);
      return bytes.length;
    }
    if (end - at > HEAD_BYTES_MAX) throw tooLarge();
    this.#onHead(bytes.toString("latin1", at, end + 2), end + HEAD_END.length === bytes.length);
    return end + HEAD_END.length;
  }

  /** The head comes in parts: a copy of it grows, and only what is new is searched. */
  #onHeldHead(bytes: Buffer, at: number): number {
    const from = Math.max(0, this.#heldBytes - (HEAD_END.length - 1));
    const heldBefore = this.#heldBytes;
    this.#hold(bytes, at);
    const end = this.#held.subarray(0, this.#heldBytes).indexOf(HEAD_END, from);
    // What comes behind the head may be anything.
    assertLines(this.#held, heldBefore - 1, end === -1 ? this.#heldBytes : end + HEAD_END.length);
    if (end === -1) return bytes.length;
    const next = at + end + HEAD_END.length - heldBefore;
    const head = this.#held.toString("latin1", 0, end + 2);
    this.#held = NONE;
    this.#heldBytes = 0;
    this.#onHead(head, next === bytes.length);
    return next;
  }

  #hold(bytes: Buffer, at: number): void {
    const length = this.#heldBytes + Math.min(bytes.length - at, HEAD_BYTES_MAX + HEAD_END.length);
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(HELD_BYTES_MIN, 2 * length));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldBytes, at, at + length - this.#heldBytes);
    this.#heldBytes = length;
  }

  #onHead(text: string, isAll: boolean): void {
    const head = parseHead(text, this.#method);
    if (head.status < STATUS_FINAL_MIN) {
      this.#interim += 1;
      if (this.#interim > INTERIM_MAX || head.status === SWITCHING_PROTOCOLS)
        throw new ClientError("not_http", `the answer is not HTTP: an interim status ${head.status}`);
      return;
    }
    const { framing } = head;
    switch (framing.kind) {
      case "length":
        this.#missing = framing.bytes;
        this.#state = "length";
        break;
      case "chunked":
        this.#decoder = new ChunkedDecoder();
        this.#state = "chunked";
        break;
      case "until-close":
        this.#state = "until-close";
        break;
    }
    this.#events.onHead(head);
    if (framing.kind === "none" && this.#state === "head") this.#end(!isAll);
  }

  #onLengthBytes(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#missing);
    this.#missing -= end - at;
    const isLast = this.#missing === 0;
    this.#events.onData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end), isLast);
    if (isLast && this.#state === "length") this.#end(end < bytes.length);
    return end;
  }

  #onChunkedBytes(bytes: Buffer, at: number): number {
    const decoder = this.#decoder!;
    const end = decoder.next(bytes, at);
    if (decoder.pieceStart < end) this.#events.onData(bytes.subarray(decoder.pieceStart, end), false);
    else if (decoder.isDone) this.#end(end < bytes.length);
    return end;
  }

  #end(hasRest: boolean): void {
    this.stop();
    this.#events.onEnd(hasRest);
  }
}

/** Not to wait for the end of a head that cannot come: every line ends in CRLF, and the head is not too large. */
function assertLines(held: Buffer, from: number, to: number): void {
  if (to > HEAD_BYTES_MAX) throw tooLarge();
  for (let i = from; i < Math.min(to, BEGINNING.length); i++) {
    if (held[i] !== BEGINNING[i])
      throw new ClientError("not_http", "the answer is not HTTP: it begins otherwise");
  }
  for (let i = from; i < to; i++) {
    const byte = held[i];
    const isBareLf = byte === LF && (i === 0 || held[i - 1] !== CR);
    const isBareCr = byte === CR && i + 1 < to && held[i + 1] !== LF;
    if (isBareLf || isBareCr) throw new ClientError("not_http", "the answer is not HTTP: a bare CR or LF");
  }
}
