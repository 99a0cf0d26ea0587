/** Where a watched value lies, in bytes from the start of the document; `end` is exclusive. */
export interface JsonSpan {
  readonly path: string;
  readonly start: number;
  readonly end: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Keys are only looked at in the outermost objects: `usage`, or `response.usage`. */
const KEY_DEPTH_MAX = 2;
/** A longer key is none of ours, whatever escapes it is written with. */
const KEY_BYTES_MAX = 128;
/** A longer watched value is none: a usage is a few hundred bytes. */
const VALUE_BYTES_MAX = 65_536;
/** Up to this length the bytes of a string are looked at one by one: a call into the runtime costs as much as 40 of them. */
const SHORT_STRING_BYTES = 40;

export interface JsonWatcherOptions {
  /** Keys of the outermost object, or `key.key` of an object directly in it. */
  readonly paths: readonly string[];
  /** Keep the bytes of the watched values (the last of each path); otherwise only their places. */
  readonly capture: boolean;
}

/**
 * Finds values in a JSON object that arrives in pieces, by their path, without building anything else: exact (a text that contains
 * `"usage":` does not fool it), in constant memory, and fast over long strings. Where a key stands twice, the last one counts, as with
 * `JSON.parse`. Bytes before the first brace are skipped. Never throws; of something that is no JSON it finds anything or nothing.
 */
export class JsonWatcher {
  readonly #paths: readonly string[];
  readonly #capture: boolean;
  /** What was found last, each in the place of its path. */
  readonly #spans: (JsonSpan | undefined)[] = [];
  readonly #texts: (string | undefined)[] = [];
  /** Bytes of all earlier pieces. */
  #offset = 0;
  #depth = 0;
  #done = false;
  #inString = false;
  /** The string's last byte so far was a backslash that escapes the next one. */
  #escaping = false;
  /** Whether the next string at this depth is a key. */
  #keyNext = false;
  /** Offset of the string that may be a key, after its quote; −1 when it is a value. */
  #keyStart = -1;
  readonly #isObject: boolean[] = [];
  readonly #keys: string[] = [];
  /** The place of the path whose value is being passed over, or −1; where that began, and the depth it lies at. */
  #watched = -1;
  #valueStart = -1;
  #valueDepth = 0;
  /** What of a key or a watched value lay in earlier pieces. */
  #carried: Buffer[] = [];
  #carriedBytes = 0;

  constructor(options: JsonWatcherOptions) {
    this.#paths = options.paths;
    this.#capture = options.capture;
  }

  span(path: string): JsonSpan | undefined {
    return this.#spans[this.#paths.indexOf(path)];
  }

  /** The value's bytes as JSON text, when `capture` is on and it was complete. */
  text(path: string): string | undefined {
    return this.#texts[this.#paths.indexOf(path)];
  }

  /** Takes the next bytes. */
  push(bytes: Buffer): void {
    let index = 0;
    while (index < bytes.length && !this.#done) {
      if (this.#inString) {
        index = this.#passString(bytes, index);
        continue;
      }
      const byte = bytes[index] as number;
      if (byte === QUOTE) this.#openString(index);
      else if (byte >= OPEN_BRACKET || byte === COMMA || byte === COLON) this.#structure(bytes, index, byte);
      index++;
    }
    this.#carry(bytes);
    this.#offset += bytes.length;
  }

  #openString(index: number): void {
    this.#inString = true;
    this.#keyStart =
      this.#keyNext && this.#depth <= KEY_DEPTH_MAX && this.#watched === -1 ? this.#offset + index + 1 : -1;
  }

  /** Goes on from `index`, inside a string, to behind its closing quote or to the end of the piece. */
  #passString(bytes: Buffer, index: number): number {
    let at = index;
    if (this.#escaping) {
      this.#escaping = false;
      at++;
    }
    while (at < bytes.length) {
      const near = Math.min(bytes.length, at + SHORT_STRING_BYTES);
      while (at < near) {
        const byte = bytes[at] as number;
        if (byte === QUOTE) return this.#closeString(bytes, at);
        at += byte === BACKSLASH ? 2 : 1;
      }
      if (at >= bytes.length) break;
      const quote = bytes.indexOf(QUOTE, at);
      const end = quote === -1 ? bytes.length : quote;
      let backslashes = 0;
      while (end - 1 - backslashes >= at && bytes[end - 1 - backslashes] === BACKSLASH) backslashes++;
      const isEscaped = backslashes % 2 === 1;
      if (quote !== -1 && !isEscaped) return this.#closeString(bytes, quote);
      // Behind the escaped quote; or, where the piece ends with a backslash, behind the byte that it escapes in the next piece.
      at = end + (isEscaped || quote !== -1 ? 1 : 0);
    }
    this.#escaping = at > bytes.length;
    return bytes.length;
  }

  #closeString(bytes: Buffer, quote: number): number {
    this.#inString = false;
    if (this.#keyStart !== -1) {
      this.#keys[this.#depth] = this.#isNoneOfOurs(bytes, quote)
        ? ""
        : decodeKey(this.#slice(bytes, this.#keyStart, this.#offset + quote));
      this.#keyStart = -1;
      this.#forgetCarried();
    }
    return quote + 1;
  }

  /** Told of most keys by their length alone: to read one costs as much as to pass over a hundred bytes. */
  #isNoneOfOurs(bytes: Buffer, quote: number): boolean {
    const start = this.#keyStart - this.#offset;
    if (start < 0 || this.#paths.some((path) => hasPartOf(path, quote - start))) return false;
    for (let at = start; at < quote; at++) if (bytes[at] === BACKSLASH) return false;
    return true;
  }

  #structure(bytes: Buffer, index: number, byte: number): void {
    switch (byte) {
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (this.#depth === 0 && byte === OPEN_BRACKET) return;
        this.#depth++;
        if (this.#depth <= KEY_DEPTH_MAX) {
          this.#isObject[this.#depth] = byte === OPEN_BRACE;
          this.#keys[this.#depth] = "";
        }
        this.#keyNext = byte === OPEN_BRACE;
        return;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (this.#depth === this.#valueDepth && this.#watched !== -1) this.#endValue(bytes, index);
        if (this.#depth > 0) this.#depth--;
        this.#keyNext = false;
        this.#done = this.#depth === 0;
        return;
      case COMMA:
        if (this.#depth === this.#valueDepth && this.#watched !== -1) this.#endValue(bytes, index);
        this.#keyNext = this.#depth <= KEY_DEPTH_MAX && this.#isObject[this.#depth] === true;
        return;
      case COLON:
        if (this.#depth <= KEY_DEPTH_MAX && this.#watched === -1 && this.#keyNext) this.#beginValue(index);
        this.#keyNext = false;
        return;
    }
  }

  #beginValue(index: number): void {
    const key = this.#keys[this.#depth] as string;
    if (this.#depth === 2 && this.#isObject[1] !== true) return;
    if (key.includes(".")) return;
    const watched = this.#paths.indexOf(this.#depth === 1 ? key : `${this.#keys[1]}.${key}`);
    if (watched === -1) return;
    this.#watched = watched;
    this.#valueDepth = this.#depth;
    this.#valueStart = this.#offset + index + 1;
  }

  #endValue(bytes: Buffer, index: number): void {
    const watched = this.#watched;
    const end = this.#offset + index;
    this.#spans[watched] = { path: this.#paths[watched], start: this.#valueStart, end };
    if (this.#capture) this.#texts[watched] = this.#slice(bytes, this.#valueStart, end)?.toString("utf8");
    this.#watched = -1;
    this.#valueStart = -1;
    this.#forgetCarried();
  }

  /** Bytes from `start` to `end` of the document; `undefined` when they were too many to keep. */
  #slice(bytes: Buffer, start: number, end: number): Buffer | undefined {
    const here = bytes.subarray(Math.max(0, start - this.#offset), end - this.#offset);
    if (start >= this.#offset) return here;
    if (this.#carriedBytes + here.length > VALUE_BYTES_MAX) return undefined;
    return Buffer.concat([...this.#carried, here]);
  }

  /** Keeps what of an unfinished key or watched value lies in this piece. */
  #carry(bytes: Buffer): void {
    const start = this.#keyStart !== -1 ? this.#keyStart : this.#capture ? this.#valueStart : -1;
    if (start === -1 || this.#carriedBytes > VALUE_BYTES_MAX) return;
    const piece = bytes.subarray(Math.max(0, start - this.#offset));
    this.#carriedBytes += piece.length;
    if (this.#carriedBytes <= VALUE_BYTES_MAX) this.#carried.push(Buffer.from(piece));
    else this.#carried = [];
  }

  #forgetCarried(): void {
    if (this.#carriedBytes === 0) return;
    this.#carried = [];
    this.#carriedBytes = 0;
  }
}

/** Whether a path, or one of the two keys that it consists of, has this length. */
function hasPartOf(path: string, length: number): boolean {
  const dot = path.indexOf(".");
  return dot === -1 ? path.length === length : dot === length || path.length - dot - 1 === length;
}

function decodeKey(bytes: Buffer | undefined): string {
  if (bytes === undefined || bytes.length > KEY_BYTES_MAX) return "";
  const text = bytes.toString("utf8");
  if (!text.includes("\\")) return text;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return "";
  }
}
