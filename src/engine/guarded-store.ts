import type { Settlement, SubjectCharges } from "../core/limits/combine.ts";
import type { LimitReading } from "../core/limits/limit-spec.ts";
import { withoutUse } from "../core/limits/without-use.ts";
import { OperationalError } from "../core/operational-error.ts";
import type { LimitRule, Priority } from "../core/policy/policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { LimitStore, ReadRequest, ReservationId, ReserveOutcome } from "../ports/limit-store.ts";
import type { PermitDecision, WaitingOfFlow } from "../ports/permit-queue.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { Claims } from "./claims.ts";
import {
  type GuardedOutcome,
  type Held,
  outcomeOf,
  type Place,
  refusedOf,
  type Turn,
} from "./guarded-outcome.ts";
import { Lease } from "./lease.ts";
import { evenShare, onShares, selectCharges } from "./local-share.ts";
import { OwnPlaces } from "./own-places.ts";
import { isUnavailable, PendingSteps } from "./pending-steps.ts";

/** A reservation is given up after this: longer than any provider answers. */
export const RESERVATION_TTL_MS = 3_600_000;

/** Subjects with what was really used of each limit, in the order reserved. */
export type Settlements = readonly { readonly key: string; readonly charges: readonly Settlement[] }[];

/**
 * A limit store that has an answer when the store has none: each limit's own policy (L12). Limits with `open` let the call pass, `local` ones
 * count it against an even share in this process's memory, a `closed` one refuses it. Nothing that was used is lost: it is charged
 * to the store when that is back.
 */
export class GuardedStore {
  readonly #store: LimitStore;
  readonly #fallback: LimitStore;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #lease: Lease;
  readonly #pending: PendingSteps;
  readonly #places: OwnPlaces;
  /** What one gateway takes for itself. */
  readonly claims: Claims;

  /** `fallback` is this process's memory. Both stores are owned by whoever made them. */
  constructor(store: LimitStore, fallback: LimitStore, telemetry: Telemetry, clock: Clock) {
    this.#store = store;
    this.#fallback = fallback;
    this.#telemetry = telemetry;
    this.#clock = clock;
    this.#places = new OwnPlaces(fallback, RESERVATION_TTL_MS);
    this.#lease = new Lease(store, telemetry, clock);
    this.#pending = new PendingSteps(store, telemetry, ({ request }) => this.#tellFreed(request.subjects));
    this.claims = new Claims(store, this.#lease, this.#pending);
  }

  /** How many gateways share the store, this one included, as of the last beat. */
  get gateways(): number {
    return this.#lease.gateways;
  }

  async start(): Promise<void> {
    await this.#lease.start((succeeded) => {
      if (succeeded) void this.#pending.retry();
    });
  }

  /** Ends the heartbeat, and tries a last time to settle what is pending: also what was kept while a try was under way. */
  async stop(): Promise<void> {
    this.#lease.stop();
    await this.#pending.retry();
    await this.#pending.retry();
    for (let i = 0; i < this.#pending.size; i++) this.#telemetry.count("reservation-unsettled");
  }

  /** Rejects with `store_unavailable` only where a `closed` limit applies. */
  async reserve(subjects: readonly SubjectCharges[], rules: readonly LimitRule[]): Promise<GuardedOutcome> {
    const id = this.#lease.nextId();
    try {
      const outcome = await this.#store.reserve({ id, subjects, ttlMs: RESERVATION_TTL_MS });
      return this.#noted(outcomeOf(outcome, this.#held(id, undefined)), subjects, rules);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return this.#reserveLocally(id, subjects, rules, error);
    }
  }

  /** Reserves in the call's turn: now, later, or not at all. As `reserve` where the store has no waiting room. */
  async enter(
    subjects: readonly SubjectCharges[],
    rules: readonly LimitRule[],
    turn: Turn,
  ): Promise<GuardedOutcome | Place> {
    const { permits } = this.#store;
    if (permits === undefined) return this.reserve(subjects, rules);
    const id = this.#lease.nextId();
    const call = { ...turn, id, subjects, ttlMs: RESERVATION_TTL_MS };
    try {
      const entry = await permits.enter(call, turn.bounds);
      if (entry.kind !== "waiting") return this.#noted(this.#decided(id, turn, entry), subjects, rules);
      const decision = entry.decision.then(
        (decided) => this.#noted(this.#decided(id, turn, decided), subjects, rules),
        (error: unknown) => {
          if (!isUnavailable(error)) throw error;
          return this.#reserveLocally(id, subjects, rules, error);
        },
      );
      return { kind: "waiting", expectedMs: entry.expectedMs, decision, leave: () => entry.leave() };
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return this.#reserveLocally(id, subjects, rules, error);
    }
  }

  /** What waits of a flow, by priority. Rejects with `store_unavailable`. */
  async waiting(flow: string, priorities: readonly Priority[]): Promise<readonly WaitingOfFlow[]> {
    const { permits } = this.#store;
    if (permits === undefined) return priorities.map(() => ({ total: 0, first: [] }));
    return Promise.all(priorities.map((priority) => permits.look(flow, priority)));
  }

  /**
   * Holds more for a call that is open. Undefined where nobody can say whether it is held now: the store is away, and what was held stays. A call that was
   * admitted without the store is not extended.
   */
  async extend(
    held: Held,
    subjects: readonly SubjectCharges[],
    step: number,
    force: boolean,
  ): Promise<ReserveOutcome | undefined> {
    if (held.local !== undefined) return undefined;
    try {
      return await this.#store.extend({ id: held.id, subjects, ttlMs: RESERVATION_TTL_MS, step, force });
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return undefined;
    }
  }

  /** `service` is what the call has used, in weighted model tokens. Never rejects (L8): what cannot be settled now is settled when the store is back. */
  async settle(held: Held, subjects: Settlements, service: number): Promise<void> {
    if (held.local !== undefined) await this.#settleLocally(held.id, held.local, subjects);
    if (held.places !== undefined) await this.#places.left(held.id, held.places);
    // The store never saw a local reservation under this id, or has given it up: a new id charges what was used.
    const id = held.local === undefined ? held.id : this.#lease.nextId();
    await this.#pending.carryOut({ step: "settle", request: { id, subjects } });
    this.#tellFreed(subjects, held, service);
  }

  async release(held: Held, subjects: readonly SubjectCharges[]): Promise<void> {
    if (held.local !== undefined) return this.#settleLocally(held.id, held.local, withoutUse(subjects));
    if (held.places !== undefined) await this.#places.left(held.id, held.places);
    await this.#pending.carryOut({ step: "release", request: { id: held.id, subjects } });
    this.#tellFreed(subjects, held, 0);
  }

  async read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]> {
    return this.#store.read(requests);
  }

  #held(id: ReservationId, turn: Held["turn"]): Held {
    return { id, grantedMs: this.#clock.nowMs(), places: undefined, turn, local: undefined };
  }

  /** With what is noted of it here, where anything is: mostly nothing, which costs no promise. */
  #noted(
    outcome: GuardedOutcome,
    subjects: readonly SubjectCharges[],
    rules: readonly LimitRule[],
  ): GuardedOutcome | Promise<GuardedOutcome> {
    if (outcome.kind !== "held" || !this.#places.areIn(rules)) return outcome;
    const { held } = outcome;
    return this.#places
      .taken(held.id, subjects, rules)
      .then((places) => ({ ...outcome, held: { ...held, places } }));
  }

  #decided(
    id: ReservationId,
    turn: Turn,
    decision: Exclude<PermitDecision, { readonly kind: "waiting" }>,
  ): GuardedOutcome {
    switch (decision.kind) {
      case "granted":
        return outcomeOf(decision.outcome, this.#held(id, { turn, isCounted: decision.isCounted }));
      case "timed_out":
        return decision;
      case "refused":
        return refusedOf(decision, turn.maxWaitMs);
    }
  }

  /** Whoever waits may be next now. */
  #tellFreed(subjects: readonly { readonly key: string }[], held?: Held, service = 0): void {
    const { permits } = this.#store;
    if (permits === undefined || (held !== undefined && held.turn === undefined)) return;
    const served = held?.turn?.isCounted ? held.turn.turn : undefined;
    permits.freed({
      keys: subjects.map(({ key }) => key),
      served:
        served === undefined
          ? undefined
          : { flow: served.flow, priority: served.priority, correction: service - served.size },
      openMs: held === undefined ? undefined : Math.max(0, this.#clock.nowMs() - held.grantedMs),
    });
  }

  async #reserveLocally(
    id: ReservationId,
    subjects: readonly SubjectCharges[],
    rules: readonly LimitRule[],
    error: OperationalError,
  ): Promise<GuardedOutcome> {
    // It may have happened all the same, or happen yet: its release undoes either (L6).
    this.#pending.keep({ step: "release", request: { id, subjects } });
    const closed = rules.find(
      ({ onStoreFailure, mode }) => onStoreFailure === "closed" && mode === "enforce",
    );
    if (closed !== undefined) {
      throw new OperationalError(
        "store_unavailable",
        `the limit "${closed.name}" cannot be checked at the moment, and it admits nothing unchecked`,
        { cause: error, retryAfterMs: error.retryAfterMs ?? 1_000 },
      );
    }
    this.#telemetry.count("store-bypassed");
    const { gateways } = this.#lease;
    const isCharged = rules.map(({ onStoreFailure }) => onStoreFailure === "local");
    const local = selectCharges(subjects, isCharged);
    const held: Held = { ...this.#held(id, undefined), local: { isCharged, gateways } };
    if (local.length === 0) return { kind: "held", held, overShadow: [], readings: undefined };
    // Only this process uses the fallback, and it is alive.
    await this.#fallback.beat(id.instance, RESERVATION_TTL_MS);
    const outcome = await this.#fallback.reserve({
      id,
      subjects: onShares(local, gateways),
      ttlMs: RESERVATION_TTL_MS,
    });
    const localRules = isCharged.flatMap((isLocal, index) => (isLocal ? [index] : []));
    const result = outcomeOf(outcome, held);
    return result.kind === "held"
      ? { ...result, overShadow: [], readings: undefined }
      : { ...result, limiting: localRules[result.limiting], readings: undefined };
  }

  async #settleLocally(
    id: ReservationId,
    { isCharged, gateways }: NonNullable<Held["local"]>,
    subjects: Settlements,
  ): Promise<void> {
    const shares = selectCharges(subjects, isCharged).map(({ key, charges }) => ({
      key,
      charges: charges.map(({ spec, actual }) => ({ spec: evenShare(spec, gateways), actual })),
    }));
    if (shares.length > 0) await this.#fallback.settle({ id, subjects: shares });
  }
}
