import type { Settlement, SubjectCharges, Verdict } from "../core/limits/combine.ts";
import type { LimitReading, LimitSpec } from "../core/limits/limit-spec.ts";
import type { PermitQueue } from "./permit-queue.ts";

/**
 * Names a reservation for good: the gateway that made it (a random 48-bit number, new with every start) and its count there.
 * Numbers instead of text, because a store keeps millions of them.
 */
export interface ReservationId {
  readonly instance: number;
  readonly sequence: number;
}

export interface ReserveRequest {
  readonly id: ReservationId;
  /** The first subject keeps the reservation's record, so it should be the one with the least traffic: the user. Never empty, keys distinct. */
  readonly subjects: readonly SubjectCharges[];
  /** After this long without an extension the reservation is given up: what it holds stays charged, what it blocks comes back. */
  readonly ttlMs: number;
}

export interface ExtendRequest extends ReserveRequest {
  /** 1 for the first extension, counting up: the same step twice extends once. */
  readonly step: number;
  /** Extend although a limit is used up: the excess is debt. */
  readonly force: boolean;
}

export interface SettleRequest {
  readonly id: ReservationId;
  /** The same subjects with the same limits in the same order as reserved; each with what was really used. */
  readonly subjects: readonly { readonly key: string; readonly charges: readonly Settlement[] }[];
}

/** What was reserved, as it was: whatever reserved or settles it can also release it. */
export interface ReleaseRequest {
  readonly id: ReservationId;
  readonly subjects: readonly {
    readonly key: string;
    readonly charges: readonly { readonly spec: LimitSpec }[];
  }[];
}

/** `readings` are in the order of the charges, as they stand after the decision. */
export type ReserveOutcome = (
  | Verdict
  /** The id was settled or released before: nothing was charged. */
  | { readonly kind: "closed" }
) & { readonly readings: readonly LimitReading[] };

/**
 * `settled`: done now. `already`: done before, nothing changed. `unknown`: the store has no such reservation (it expired, or the store
 * lost it); what was used is charged all the same, since it was used.
 */
export type SettleOutcome = "settled" | "already" | "unknown";

/** Limits of one subject to look at. */
export interface ReadRequest {
  readonly key: string;
  readonly specs: readonly LimitSpec[];
}

/** How long a store remembers at least that a reservation was closed: far longer than anybody repeats a settle whose reply was lost (L6). */
export const CLOSED_MEMORY_MS = 60_000;

/**
 * Where counters live. Every method is one atomic step: it happens altogether or not at all, and its clock is the store's own (L1, L5).
 *
 * Every method may reject with an `OperationalError` with code `store_unavailable`, within the store's deadline. Whether the step happened is then
 * unknown. All steps are idempotent by id (L6), so the caller may repeat one; or it calls `release`, which also keeps a reservation that is still
 * under way from ever happening.
 *
 * Passing `test/contract/limit-store.contract.ts` is the definition of being one.
 */
export interface LimitStore {
  /** Where calls wait for what these limits have no room for yet; absent where the store has no waiting room. */
  readonly permits?: PermitQueue | undefined;
  /** Charges every limit or none (L1). */
  reserve(request: ReserveRequest): Promise<ReserveOutcome>;
  /** Holds more for a reservation that is open, on the same subjects and limits; `closed` when it is not. Also renews its `ttlMs`. */
  extend(request: ExtendRequest): Promise<ReserveOutcome>;
  /** Never refuses (L8). */
  settle(request: SettleRequest): Promise<SettleOutcome>;
  /** Gives everything back. */
  release(request: ReleaseRequest): Promise<SettleOutcome>;
  /** Readings in the order asked for, over all subjects. Changes nothing. */
  read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]>;
  /**
   * Renews the lease of a gateway; without one in `leaseMs`, the concurrency that its reservations take comes back (L9).
   * Returns how many gateways have a lease.
   */
  beat(instance: number, leaseMs: number): Promise<number>;
  /** Gives up the lease and every resource. The store must not be used afterwards. */
  close(): Promise<void>;
}
