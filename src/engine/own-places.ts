import type { SubjectCharges } from "../core/limits/combine.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import type { LimitStore, ReservationId } from "../ports/limit-store.ts";
import { selectCharges } from "./local-share.ts";

const isOfPlaces = ({ meter, onStoreFailure }: LimitRule): boolean =>
  meter === "concurrency" && onStoreFailure === "local";

/**
 * What this gateway's own calls hold of limits on concurrency, in its memory beside the store: while the store is away, a gateway gives away its share of a limit, and the
 * calls that it runs already are part of that (L12). What was used of a window only the store knows.
 */
export class OwnPlaces {
  readonly #memory: LimitStore;
  readonly #ttlMs: number;

  /** `memory` is this process's, and the one from which shares are given away; calls end within `ttlMs`. */
  constructor(memory: LimitStore, ttlMs: number) {
    this.#memory = memory;
    this.#ttlMs = ttlMs;
  }

  /** Whether any of these limits is one of which places are noted. */
  areIn(rules: readonly LimitRule[]): boolean {
    return rules.some(isOfPlaces);
  }

  /** The store has granted a reservation. Returns what is noted of it, for `left`. */
  async taken(
    id: ReservationId,
    subjects: readonly SubjectCharges[],
    rules: readonly LimitRule[],
  ): Promise<readonly SubjectCharges[]> {
    const places = selectCharges(subjects, rules.map(isOfPlaces));
    // Only this process uses its memory, and it is alive.
    await this.#memory.beat(id.instance, this.#ttlMs);
    await this.#memory.reserve({ id, subjects: places, ttlMs: this.#ttlMs });
    return places;
  }

  /** The call has ended. */
  async left(id: ReservationId, places: readonly SubjectCharges[]): Promise<void> {
    await this.#memory.release({ id, subjects: places });
  }
}
