import {
  CLOSED_MEMORY_MS,
  type ReleaseRequest,
  type ReservationId,
  type ReserveRequest,
} from "../../ports/limit-store.ts";
import { idName } from "./unanswered.ts";

/** Reservations expire after minutes or hours, so a second more does not matter. */
const CHECK_MS = 1_000;

interface Slot {
  readonly request: ReleaseRequest;
  readonly untilMs: number;
}

/**
 * Open reservations of this process that block concurrency. When one expires without having been closed, what it blocks must come back (port
 * docs) although its gateway lives on; since Redis acts only when asked, the process that made it asks. Time is `performance.now`.
 */
export class ExpiringSlots {
  readonly #giveUp: (request: ReleaseRequest) => Promise<unknown>;
  readonly #onGivenUp: () => void;
  readonly #open = new Map<string, Slot>();
  #timer: NodeJS.Timeout | undefined;

  /** `giveUp` may reject: then it is tried again. */
  constructor(giveUp: (request: ReleaseRequest) => Promise<unknown>, onGivenUp: () => void) {
    this.#giveUp = giveUp;
    this.#onGivenUp = onGivenUp;
  }

  /** Notes a reservation that was made or extended. */
  opened({ id, subjects, ttlMs }: ReserveRequest): void {
    const blocks = subjects.some(({ charges }) =>
      charges.some(({ spec }) => spec.algorithm === "concurrency"),
    );
    if (!blocks) return;
    this.#open.set(idName(id), { request: { id, subjects }, untilMs: performance.now() + ttlMs });
    this.#timer ??= setInterval(() => this.#check(), CHECK_MS).unref();
  }

  closed(id: ReservationId): void {
    if (this.#open.size > 0) this.#open.delete(idName(id));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#open.clear();
  }

  #check(): void {
    const nowMs = performance.now();
    for (const [name, slot] of this.#open) {
      if (slot.untilMs > nowMs) continue;
      // So long after its expiry the record is gone, and trying again makes no sense.
      if (slot.untilMs + CLOSED_MEMORY_MS <= nowMs) {
        this.#open.delete(name);
        continue;
      }
      this.#giveUp(slot.request).then(
        () => {
          if (this.#open.get(name) === slot && this.#open.delete(name)) this.#onGivenUp();
        },
        () => {},
      );
    }
  }
}
