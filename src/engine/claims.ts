import type { SubjectCharges } from "../core/limits/combine.ts";
import type { LimitStore, ReleaseRequest, ReservationId, SettleRequest } from "../ports/limit-store.ts";
import type { Lease } from "./lease.ts";
import { isUnavailable, type PendingSteps } from "./pending-steps.ts";

/** Longer than anything is told that was claimed. */
const CLAIM_TTL_MS = 3_600_000;

export type Claim =
  | { readonly kind: "claimed"; readonly id: ReservationId }
  /** `limiting` is the charge in the way, for `waitMs`. */
  | { readonly kind: "taken"; readonly waitMs: number; readonly limiting: number };

/** What one gateway of all takes for itself, under its lease: a reservation that is no call's. */
export class Claims {
  readonly #store: LimitStore;
  readonly #lease: Lease;
  readonly #pending: PendingSteps;

  constructor(store: LimitStore, lease: Lease, pending: PendingSteps) {
    this.#store = store;
    this.#lease = lease;
    this.#pending = pending;
  }

  /** Rejects with `store_unavailable`; then nothing is taken, once the store is back. */
  async take(subject: SubjectCharges): Promise<Claim> {
    const id = this.#lease.nextId();
    try {
      const outcome = await this.#store.reserve({ id, subjects: [subject], ttlMs: CLAIM_TTL_MS });
      switch (outcome.kind) {
        case "admitted":
          return { kind: "claimed", id };
        case "refused":
          return { kind: "taken", waitMs: outcome.waitMs, limiting: outcome.limiting };
        case "never_fits":
        case "closed":
          throw new Error(`a claim is ${outcome.kind}: it asks for one of one, under an id of its own`);
      }
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      this.#pending.keep({ step: "release", request: { id, subjects: [subject] } });
      throw error;
    }
  }

  /** What was claimed is done, as the settlement says. Never rejects because the store fails. */
  settle(request: SettleRequest): Promise<void> {
    return this.#pending.carryOut({ step: "settle", request });
  }

  /** What was claimed is for others to take. Never rejects because the store fails. */
  release(request: ReleaseRequest): Promise<void> {
    return this.#pending.carryOut({ step: "release", request });
  }
}
