import type { SubjectState } from "../../core/limits/subject-state.ts";
import type { ReservationId } from "../../ports/limit-store.ts";
import type { OpenReservation } from "../memory/reservation-table.ts";

/*
 * A journal row is a sequence of after-images: each replaces what is known of its subject or reservation. Numbers are zigzag base-128
 * varints, and the times in a state are written relative to its `lastMs`, so that most take one to four bytes instead of eight.
 *
 *     row         := image*
 *     image       := SUBJECT key state | OPEN id expiresMs step holds | CLOSED id
 *     key         := byteLength, UTF-8
 *     state       := length, lastMs, (number − lastMs if that is shorter, flagged in a bitmap)*
 */
const SUBJECT = 1;
const OPEN = 2;
const CLOSED = 3;

/** Version of this layout: a database with another is refused instead of misread. */
export const JOURNAL_VERSION = 1;

/** No number takes more than this many bytes: ⌈(53 + 2) / 7⌉, the flag and the sign included. */
const NUMBER_BYTES_MAX = 8;
/** Doubled at every overflow, so its start only has to be sensible. */
const CAPACITY_START = 64 * 1_024;
const TWO_31 = 2_147_483_648;
/** 2^48: what can carry a flag in its lowest bit with room to spare. */
const FLAGGED_MAX = 281_474_976_710_656;
/** An even number that no value of a state is written as: says that the next number is the value, unflagged. */
const WIDE_MARK = -2;

/** Collects the images of one row. */
export class JournalWriter {
  #buffer = Buffer.allocUnsafe(CAPACITY_START);
  #length = 0;

  /** The row so far; valid until the next image is added. */
  get row(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  subject(key: string, state: SubjectState): void {
    // Three bytes a UTF-16 unit is the most that UTF-8 takes.
    this.#ensure(key.length * 3 + (state.length + 4) * NUMBER_BYTES_MAX);
    this.#buffer[this.#length++] = SUBJECT;
    const bytes = Buffer.byteLength(key);
    this.#number(bytes);
    this.#length += this.#buffer.write(key, this.#length);
    this.#number(state.length);
    const lastMs = state[0];
    this.#number(lastMs);
    for (let i = 1; i < state.length; i++) {
      const value = state[i];
      const relative = value - lastMs;
      const isNear = Math.abs(relative) < Math.abs(value);
      // The lowest bit says which of the two was written.
      if (isNear && Math.abs(relative) < FLAGGED_MAX) this.#number(relative * 2 + 1);
      else this.#plain(value);
    }
  }

  open(id: ReservationId, { expiresMs, step, holds }: OpenReservation): void {
    this.#ensure((holds.length + 6) * NUMBER_BYTES_MAX);
    this.#buffer[this.#length++] = OPEN;
    this.#id(id);
    this.#number(expiresMs);
    this.#number(step);
    this.#number(holds.length);
    for (let i = 0; i < holds.length; i++) this.#number(holds[i]);
  }

  closed(id: ReservationId): void {
    this.#ensure(4 * NUMBER_BYTES_MAX);
    this.#buffer[this.#length++] = CLOSED;
    this.#id(id);
  }

  #id({ instance, sequence }: ReservationId): void {
    this.#number(instance);
    this.#number(sequence);
  }

  #plain(value: number): void {
    if (Math.abs(value) < FLAGGED_MAX && value * 2 !== WIDE_MARK) {
      this.#number(value * 2);
      return;
    }
    this.#number(WIDE_MARK);
    this.#number(value);
  }

  /** Integers in (−2^53, 2^53). */
  #number(value: number): void {
    const buffer = this.#buffer;
    let at = this.#length;
    const isNegative = value < 0;
    let rest = isNegative ? -value - 1 : value;
    // The sign takes the lowest bit of the first byte, so nothing needs a 54th bit.
    let byte = (rest % 64) * 2 + (isNegative ? 1 : 0);
    rest = Math.floor(rest / 64);
    while (rest >= TWO_31) {
      buffer[at++] = byte | 0x80;
      byte = rest % 128;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0) {
      buffer[at++] = byte | 0x80;
      byte = rest & 127;
      rest >>>= 7;
    }
    buffer[at++] = byte;
    this.#length = at;
  }

  #ensure(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** Who takes what a row says. */
export interface JournalReader {
  subject(key: string, state: SubjectState): void;
  reservation(id: ReservationId, reservation: OpenReservation | "closed"): void;
}

/** Reads a row back. Throws a `RangeError` where it is cut short or is none. */
export function readJournalRow(row: Uint8Array, reader: JournalReader): void {
  const bytes = Buffer.from(row.buffer, row.byteOffset, row.byteLength);
  let at = 0;
  const number = (): number => {
    let byte = byteAt(bytes, at++);
    const isNegative = (byte & 1) === 1;
    let value = (byte & 0x7f) >>> 1;
    for (let unit = 64; (byte & 0x80) !== 0; unit *= 128) {
      byte = byteAt(bytes, at++);
      value += (byte & 0x7f) * unit;
    }
    return isNegative ? -value - 1 : value;
  };
  const id = (): ReservationId => ({ instance: number(), sequence: number() });
  while (at < bytes.length) {
    const tag = bytes[at++];
    if (tag === SUBJECT) {
      const length = number();
      const key = bytes.toString("utf8", at, at + length);
      at += length;
      reader.subject(key, readState(number));
    } else if (tag === OPEN) {
      const name = id();
      const [expiresMs, step, count] = [number(), number(), number()];
      const holds = Array.from({ length: count }, number);
      reader.reservation(name, { expiresMs, step, holds });
    } else if (tag === CLOSED) {
      reader.reservation(id(), "closed");
    } else {
      throw new RangeError(`not a journal image: ${tag} at byte ${at - 1}`);
    }
  }
}

function readState(number: () => number): SubjectState {
  const length = number();
  const lastMs = number();
  // Doubles from the start, see `emptyState`.
  const state: SubjectState = [0.5];
  state[0] = lastMs;
  for (let i = 1; i < length; i++) {
    const flagged = number();
    if (flagged === WIDE_MARK) state.push(number());
    else state.push(flagged % 2 === 0 ? flagged / 2 : (flagged - 1) / 2 + lastMs);
  }
  return state;
}

function byteAt(bytes: Buffer, at: number): number {
  if (at >= bytes.length) throw new RangeError("the journal row is cut short");
  return bytes[at];
}
