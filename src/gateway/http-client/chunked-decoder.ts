import { ClientError } from "./client-error.ts";

/** Size and extensions of one chunk, in bytes. Extensions are used by nobody; llhttp allows 16 kB over a whole body. */
const CHUNK_HEAD_BYTES_MAX = 1_024;
/** Thirteen hexadecimal digits are 2^52: more is not exact in a double, and no body. */
const SIZE_DIGITS_MAX = 13;
/** Trailers are read and dropped; as much of them as of headers. */
const TRAILER_BYTES_MAX = 65_536;

const CR = 13;
const LF = 10;
const SEMICOLON = 59;
const TAB = 9;

/** What comes next. */
type State =
  | "size"
  | "extension"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer-start"
  | "trailer-line"
  | "trailer-lf"
  | "last-lf"
  | "done";

const broken = (what: string) => new ClientError("not_http", `the answer's chunks are broken: ${what}`);

/** The value of a hexadecimal digit; -1 for other bytes. */
function digitOf(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/** A control character, which neither an extension nor a trailer may hold. */
const isControl = (byte: number) => (byte < 0x20 && byte !== TAB) || byte === 0x7f;

/** Takes the framing off a chunked body (RFC 9112, section 7.1), strictly: only CRLF ends a line. One object a body. Pure. */
export class ChunkedDecoder {
  #state: State = "size";
  /** Of the size being read, then of the chunk still to come. */
  #size = 0;
  #digits = 0;
  /** Bytes of this chunk's head, or of all trailers. */
  #lineBytes = 0;

  get isDone(): boolean {
    return this.#state === "done";
  }

  /**
   * Reads on from `at`, up to the next piece of data or the end of `bytes`, and returns where it stopped. With data, `pieceStart` is where it
   * begins and the returned place is its end; without, `pieceStart` is that place. Throws `not_http`.
   */
  next(bytes: Buffer, at: number): number {
    while (at < bytes.length) {
      if (this.#state === "done") break;
      if (this.#state === "data") {
        const end = Math.min(bytes.length, at + this.#size);
        this.pieceStart = at;
        this.#size -= end - at;
        if (this.#size === 0) this.#state = "data-cr";
        return end;
      }
      this.#frame(bytes[at]);
      at += 1;
    }
    this.pieceStart = at;
    return at;
  }

  /** See `next`. */
  pieceStart = 0;

  #frame(byte: number): void {
    switch (this.#state) {
      case "size":
        this.#onSize(byte);
        return;
      case "extension":
        this.#onLine(byte, "size-lf", CHUNK_HEAD_BYTES_MAX);
        return;
      case "size-lf":
        this.#expect(byte, LF, this.#size === 0 ? "trailer-start" : "data");
        return;
      case "data-cr":
        this.#expect(byte, CR, "data-lf");
        return;
      case "data-lf":
        this.#digits = 0;
        this.#lineBytes = 0;
        this.#expect(byte, LF, "size");
        return;
      case "trailer-start":
        if (byte === CR) {
          this.#state = "last-lf";
          return;
        }
        this.#state = "trailer-line";
        this.#onLine(byte, "trailer-lf", TRAILER_BYTES_MAX);
        return;
      case "trailer-line":
        this.#onLine(byte, "trailer-lf", TRAILER_BYTES_MAX);
        return;
      case "trailer-lf":
        this.#expect(byte, LF, "trailer-start");
        return;
      case "last-lf":
        this.#expect(byte, LF, "done");
        return;
      case "data":
      case "done":
        throw new Error("not a byte of framing");
    }
  }

  #onSize(byte: number): void {
    const digit = digitOf(byte);
    if (digit >= 0) {
      this.#digits += 1;
      if (this.#digits > SIZE_DIGITS_MAX) throw broken("a size too large");
      this.#size = this.#size * 16 + digit;
      return;
    }
    if (this.#digits === 0) throw broken("no size");
    if (byte === CR) this.#state = "size-lf";
    else if (byte === SEMICOLON) this.#state = "extension";
    else throw broken("not a size");
  }

  #onLine(byte: number, atEnd: State, bytesMax: number): void {
    this.#lineBytes += 1;
    if (this.#lineBytes > bytesMax) throw broken("a line too long");
    if (byte === CR) this.#state = atEnd;
    else if (isControl(byte)) throw broken("a control character");
  }

  #expect(byte: number, expected: number, next: State): void {
    if (byte !== expected) throw broken("a line that does not end in CRLF");
    this.#state = next;
  }
}
