import type { ReservationId, SettleRequest } from "../../ports/limit-store.ts";

/** A minute of a busy gateway without a store that answers, a few MB; the holds of what is dropped beyond it stay until they expire. */
const LOST_MAX = 20_000;
/** So many are released at once: enough to be done soon, few enough not to be what makes the store slow. */
const RELEASED_AT_ONCE = 64;
/** A caller that repeats a reserve does it within this, and then the reservation is not lost. */
const REPEAT_MS = 1_000;

export const idName = ({ instance, sequence }: ReservationId): string => `${instance}:${sequence}`;

interface Lost {
  readonly request: SettleRequest;
  readonly sinceMs: number;
}

/**
 * Reservations of which nobody knows whether they were made, since the answer was lost: released when the store is back, so that nothing
 * stays held that nobody uses. Time is `performance.now`.
 */
export class LostReservations {
  readonly #release: (request: SettleRequest) => Promise<unknown>;
  readonly #lost = new Map<string, Lost>();
  #timer: NodeJS.Timeout | undefined;
  #releasing = false;
  #closed = false;

  /** `release` may reject: then it is tried again later. */
  constructor(release: (request: SettleRequest) => Promise<unknown>) {
    this.#release = release;
  }

  get size(): number {
    return this.#lost.size;
  }

  add(request: SettleRequest): void {
    if (this.#lost.size >= LOST_MAX) return;
    this.#lost.set(idName(request.id), { request, sinceMs: performance.now() });
    this.#later();
  }

  /** The caller goes on with this reservation itself. */
  forget(id: ReservationId): void {
    if (this.#lost.size > 0) this.#lost.delete(idName(id));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#lost.clear();
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#releaseDue();
    }, REPEAT_MS).unref();
  }

  async #releaseDue(): Promise<void> {
    if (this.#releasing) return this.#later();
    this.#releasing = true;
    const untilMs = performance.now() - REPEAT_MS;
    const due = [...this.#lost].filter(([, { sinceMs }]) => sinceMs <= untilMs);
    for (let i = 0; i < due.length; i += RELEASED_AT_ONCE) {
      const batch = due.slice(i, i + RELEASED_AT_ONCE);
      const results = await Promise.allSettled(batch.map((entry) => this.#releaseOne(...entry)));
      if (results.some(({ status }) => status === "rejected")) break;
    }
    this.#releasing = false;
    if (this.#lost.size > 0) this.#later();
  }

  async #releaseOne(name: string, lost: Lost): Promise<void> {
    // The caller may have taken it up again while others were released.
    if (this.#lost.get(name) !== lost) return;
    await this.#release(lost.request);
    if (this.#lost.get(name) === lost) this.#lost.delete(name);
  }
}
