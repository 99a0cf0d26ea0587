import type { MeteredUsage, UsageMeter } from "../../ports/provider-format.ts";
import { JsonWatcher } from "./json-watcher.ts";
import { SseFraming } from "./sse-framing.ts";

/** Understands the events of one kind of stream. Never throws, whatever they are. */
export interface StreamReader {
  /** Reads one event, as text with one character a byte, its blank line included. Says whether it is the extra chunk of `include_usage`. */
  read(event: string): boolean;
  /** What of an event that is too long to be kept is wanted, see `JsonWatcher`. */
  readonly watchedPaths: readonly string[];
  readWatched(watched: JsonWatcher): void;
  /** `hasFinished`: the provider has ended the stream itself. */
  metered(hasFinished: boolean): MeteredUsage;
  /** See `UsageMeter.isEnding`. */
  readonly isEnding: boolean;
  inStreamError(): string | undefined;
  readonly emittedTokens: number;
  /** See `UsageMeter.inputTokens`. */
  readonly inputTokens: number | undefined;
}

/** An event longer than this is not kept but watched for its usage as it passes (S3). Answers with all their output in the last event stay far below it. */
const EVENT_BYTES_MAX = 262_144;
/** The extra usage chunk takes about 700 bytes: what is longer is none, and is not held back. */
const HELD_BYTES_MAX = 4_096;
/** First size of the room for an event that came in pieces: most fit. */
const ROOM_BYTES = 1_024;
const EMPTY = Buffer.alloc(0);
const LINE_FEED = 0x0a;

/** Watches a server-sent stream; takes the extra usage chunk out of one that was spliced. Memory is bounded by one event of 256 kB. */
export class StreamMeter implements UsageMeter {
  readonly #reader: StreamReader;
  readonly #removesUsage: boolean;
  readonly #framing = new SseFraming();
  /** The event that has begun in an earlier piece: its bytes so far are `room[0, begun)`. */
  #room = EMPTY;
  #begun = 0;
  /** Whether the bytes of the event that has begun have been held back, all of them. Otherwise the client has them all. */
  #isHeld = false;
  /** Takes over from the room when the event is too long for it. */
  #watcher: JsonWatcher | undefined;
  #hasFinished = false;

  constructor(reader: StreamReader, removesUsage: boolean) {
    this.#reader = reader;
    this.#removesUsage = removesUsage;
  }

  push(chunk: Buffer): Buffer {
    const length = chunk.length;
    if (length === 0) return chunk;
    const isWhole =
      this.#begun === 0 &&
      this.#watcher === undefined &&
      length > 2 &&
      chunk[length - 1] === LINE_FEED &&
      chunk[length - 2] === LINE_FEED &&
      this.#framing.atLineStart;
    if (isWhole) {
      const text = chunk.toString("latin1", 0, length);
      if (!text.includes("\r")) return this.#pushWhole(chunk, text);
    }
    return this.#pushPiece(chunk);
  }

  finish(): Buffer {
    this.#hasFinished = true;
    if (this.#watcher !== undefined) {
      this.#reader.readWatched(this.#watcher);
      this.#watcher = undefined;
    }
    if (this.#begun === 0) return EMPTY;
    const begun = Buffer.from(this.#room.subarray(0, this.#begun));
    const isExtra = this.#reader.read(begun.toString("latin1", 0, begun.length));
    const held = this.#isHeld && !isExtra ? begun : EMPTY;
    this.#begun = 0;
    this.#isHeld = false;
    return held;
  }

  metered(): MeteredUsage {
    return this.#reader.metered(this.#hasFinished);
  }

  isEnding(): boolean {
    return this.#reader.isEnding;
  }

  inStreamError(): string | undefined {
    return this.#reader.inStreamError();
  }

  emittedTokens(): number {
    return this.#reader.emittedTokens;
  }

  inputTokens(): number | undefined {
    return this.#reader.inputTokens;
  }

  /** The usual case: whole events, with LF line ends. */
  #pushWhole(chunk: Buffer, text: string): Buffer {
    let kept: Buffer[] | undefined;
    let keptTo = 0;
    let from = 0;
    while (from < text.length) {
      // A blank line more than needed is an event of its own, which stays where it is.
      const end = text.charCodeAt(from) === LINE_FEED ? from + 1 : text.indexOf("\n\n", from) + 2;
      const isExtra = this.#reader.read(from === 0 && end === text.length ? text : text.slice(from, end));
      if (isExtra && this.#removesUsage) {
        kept ??= [];
        kept.push(chunk.subarray(keptTo, from));
        keptTo = end;
      }
      from = end;
    }
    if (kept === undefined) return chunk;
    kept.push(chunk.subarray(keptTo));
    return joined(kept, chunk);
  }

  #pushPiece(chunk: Buffer): Buffer {
    const out: Buffer[] = [];
    let outFrom = 0;
    let from = 0;
    for (;;) {
      const end = this.#framing.nextEnd(chunk, from);
      if (end === -1) break;
      const hasBegunHere = this.#begun === 0 && this.#watcher === undefined;
      const isExtra = this.#endEvent(chunk, from, end) && this.#removesUsage;
      if (isExtra && (this.#isHeld || hasBegunHere)) {
        out.push(chunk.subarray(outFrom, from));
        outFrom = end;
      } else if (this.#isHeld) out.push(Buffer.from(this.#room.subarray(0, this.#begun)));
      this.#begun = 0;
      this.#isHeld = false;
      from = end;
    }
    if (from < chunk.length && this.#beginEvent(chunk, from, out)) out.push(chunk.subarray(outFrom, from));
    else out.push(chunk.subarray(outFrom));
    return joined(out, chunk);
  }

  #endEvent(chunk: Buffer, from: number, end: number): boolean {
    if (this.#watcher !== undefined) {
      this.#watcher.push(chunk.subarray(from, end));
      this.#reader.readWatched(this.#watcher);
      this.#watcher = undefined;
      return false;
    }
    if (this.#begun === 0) return this.#reader.read(chunk.toString("latin1", from, end));
    return this.#reader.read(
      this.#room.toString("latin1", 0, this.#begun) + chunk.toString("latin1", from, end),
    );
  }

  /** Keeps the bytes of an unfinished event from `from` on. Returns whether they must be held back; releases earlier ones into `out` when that is over. */
  #beginEvent(chunk: Buffer, from: number, out: Buffer[]): boolean {
    const piece = from === 0 ? chunk : chunk.subarray(from);
    if (this.#watcher !== undefined) {
      this.#watcher.push(piece);
      return false;
    }
    const heldBefore = this.#isHeld ? this.#begun : 0;
    const mayHold = this.#removesUsage && (this.#isHeld || this.#begun === 0);
    this.#append(piece);
    this.#isHeld =
      mayHold &&
      this.#begun <= HELD_BYTES_MAX &&
      mayBeUsageChunk(this.#room.toString("latin1", 0, this.#begun));
    if (!this.#isHeld && heldBefore > 0) out.push(Buffer.from(this.#room.subarray(0, heldBefore)));
    if (this.#begun > EVENT_BYTES_MAX) {
      this.#watcher = new JsonWatcher({ paths: this.#reader.watchedPaths, capture: true });
      this.#watcher.push(this.#room.subarray(0, this.#begun));
      this.#room = EMPTY;
      this.#begun = 0;
    }
    return this.#isHeld;
  }

  #append(piece: Buffer): void {
    const needed = this.#begun + piece.length;
    if (needed > this.#room.length) {
      const room = Buffer.allocUnsafe(Math.max(needed, this.#room.length * 2, ROOM_BYTES));
      this.#room.copy(room, 0, 0, this.#begun);
      this.#room = room;
    }
    piece.copy(this.#room, this.#begun);
    this.#begun = needed;
  }
}

/** One buffer of them all: `chunk` itself where they are all of it. */
function joined(pieces: readonly Buffer[], chunk: Buffer): Buffer {
  const filled = pieces.filter((piece) => piece.length > 0);
  const first = filled[0];
  if (first === undefined) return EMPTY;
  if (filled.length > 1) return Buffer.concat(filled);
  return first.length === chunk.length && first.buffer === chunk.buffer ? chunk : first;
}

/** Whether the start of an event can still become a chunk with `"choices":[]`. */
function mayBeUsageChunk(start: string): boolean {
  const key = start.indexOf('"choices"');
  if (key === -1) return true;
  const value = /[^\s:[]/.exec(start.slice(key + 9));
  return value === null || value[0] === "]";
}
