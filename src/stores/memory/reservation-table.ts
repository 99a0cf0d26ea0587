import type { Holds } from "../../core/limits/combine.ts";
import { CLOSED_MEMORY_MS, type ReservationId } from "../../ports/limit-store.ts";
import { ClosedSequences } from "./closed-sequences.ts";

export interface OpenReservation {
  /** When it is given up, in epoch ms. */
  expiresMs: number;
  /** The last extension made. */
  step: number;
  readonly holds: Holds;
}

/** How often the table is looked through for what can be forgotten: seldom, since it is looked through as a whole. */
const SWEEP_EVERY_MS = 10_000;

/** One gateway's reservations. */
interface Book {
  readonly open: Map<number, OpenReservation>;
  readonly closed: ClosedSequences;
}

/** The reservations of a process: open ones with what they hold, closed ones only by name, for a while. */
export class ReservationTable {
  readonly #books = new Map<number, Book>();
  #sweptMs = 0;

  /** An open reservation, or what is known of one that is not: that it was closed lately, or nothing. */
  find(id: ReservationId): OpenReservation | "closed" | undefined {
    const book = this.#books.get(id.instance);
    if (book === undefined) return undefined;
    return book.open.get(id.sequence) ?? (book.closed.has(id.sequence) ? "closed" : undefined);
  }

  put(id: ReservationId, reservation: OpenReservation): void {
    this.#book(id).open.set(id.sequence, reservation);
  }

  close(id: ReservationId, nowMs: number): void {
    const book = this.#book(id);
    book.open.delete(id.sequence);
    book.closed.add(id.sequence, nowMs);
  }

  /** Forgets closed reservations that are old enough; gives up open ones that have expired and returns how many. */
  sweep(nowMs: number): number {
    // After a step back of the clock the next turn would be far off.
    if (nowMs < this.#sweptMs) this.#sweptMs = nowMs;
    if (nowMs - this.#sweptMs < SWEEP_EVERY_MS) return 0;
    this.#sweptMs = nowMs;
    let givenUp = 0;
    for (const [instance, book] of this.#books) {
      for (const [sequence, { expiresMs }] of book.open) {
        if (expiresMs > nowMs) continue;
        book.open.delete(sequence);
        givenUp += 1;
      }
      book.closed.forget(nowMs - CLOSED_MEMORY_MS);
      if (book.open.size === 0 && book.closed.isEmpty) this.#books.delete(instance);
    }
    return givenUp;
  }

  /** Every reservation that is remembered, for a snapshot. */
  *entries(): Generator<[ReservationId, OpenReservation | "closed"]> {
    for (const [instance, book] of this.#books) {
      for (const [sequence, reservation] of book.open) yield [{ instance, sequence }, reservation];
      for (const sequence of book.closed.values()) yield [{ instance, sequence }, "closed"];
    }
  }

  #book(id: ReservationId): Book {
    let book = this.#books.get(id.instance);
    if (book === undefined) {
      book = { open: new Map(), closed: new ClosedSequences() };
      this.#books.set(id.instance, book);
    }
    return book;
  }
}
