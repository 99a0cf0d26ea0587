import type { RoomBounds } from "../../src/core/fairness/permit.ts";
import type { ConcurrencySpec, RollingWindowSpec } from "../../src/core/limits/limit-spec.ts";
import type { LimitStore, ReservationId, SettleRequest } from "../../src/ports/limit-store.ts";
import type { FreedRequest, PermitCall, PermitQueue } from "../../src/ports/permit-queue.ts";
import { subjectOf } from "./four-limits.ts";

/** So many users wait at any time. */
export const USERS = 10_000;
/** So many calls are open at a time in a busy gateway. */
export const PLACES = 256;
export const TTL_MS = 600_000;
const ACCOUNT = "account=openai/main";
/** Each number of places is a limit of its own. */
export const placesOf = (capacity: number): ConcurrencySpec => ({
  id: 0x9e37_79b9_9000 + capacity,
  algorithm: "concurrency",
  capacity,
  shadow: false,
});
/** Of each user: requests a minute, never used up. */
const OWN: RollingWindowSpec = {
  id: 0x9e37_79b9_8001,
  algorithm: "rolling_window",
  capacity: 1_000_000_000,
  windowMs: 60_000,
  grainMs: 6_000,
  shadow: false,
};
export const BOUNDS: RoomBounds = {
  waitingMax: 10 * USERS,
  waitingPerFlowMax: 1_000,
  bytesMax: 1e12,
  bytesPerFlowMax: 1e12,
  minShares: [0, 0.1, 0.1, 0.05],
};

/** A user's call for one of `places`. */
export const callOf = <Id extends ReservationId>(id: Id, user: number, places: ConcurrencySpec) => {
  const key = subjectOf(user);
  return {
    id,
    ttlMs: TTL_MS,
    subjects: [
      { key, charges: [{ spec: OWN, hold: 1, need: 1 }] },
      { key: ACCOUNT, charges: [{ spec: places, hold: 1, need: 1 }] },
    ],
    isShared: [false, true],
    flow: key,
    priority: "normal",
    weight: 1,
    size: 900 + (user % 100),
    bytes: 4_096,
    maxWaitMs: TTL_MS,
  } as const satisfies PermitCall;
};

export const settlementOf = ({ id, flow }: PermitCall, places: ConcurrencySpec): SettleRequest => ({
  id,
  subjects: [
    { key: flow, charges: [{ spec: OWN, actual: 1 }] },
    { key: ACCOUNT, charges: [{ spec: places, actual: 1 }] },
  ],
});

export const endOf = ({ flow, priority }: PermitCall, isCounted: boolean): FreedRequest => ({
  keys: [flow, ACCOUNT],
  served: isCounted ? { flow, priority, correction: -50 } : undefined,
  openMs: 5,
});

interface OneGateway {
  readonly store: LimitStore;
  readonly permits: PermitQueue;
  readonly instance: number;
}

/** Users who always want one call more than there is room for: each queues up, is granted, ends, and queues up again. */
export class WaitingUsers {
  readonly #gateways: readonly OneGateway[];
  readonly #places: ConcurrencySpec;
  /** Between a grant and its end; 0 for at once. */
  readonly #holdMs: number;
  #sequence = 0;
  #granted = 0;
  #wanted = Number.POSITIVE_INFINITY;
  #reached = () => {};
  /** When the last place was given back. */
  #freedMs = 0;
  /** From the step that gives a place back to the next grant: where there is one place only. */
  readonly grantMs: number[] = [];

  /** Half of the users call through each gateway of two. */
  constructor(stores: readonly LimitStore[], places = PLACES, holdMs = 0) {
    this.#places = placesOf(places);
    this.#holdMs = holdMs;
    this.#gateways = stores.map((store, i) => {
      if (store.permits === undefined) throw new Error("the store has no waiting room");
      return { store, permits: store.permits, instance: 7 + i };
    });
  }

  async start(fail: (error: unknown) => void, users = USERS): Promise<void> {
    for (const { store, instance } of this.#gateways) await store.beat(instance, TTL_MS);
    for (let user = 0; user < users; user++) {
      const loop = async () => {
        for (;;) await this.#call(user);
      };
      loop().catch(fail);
    }
  }

  /** Resolves when so many more calls have been granted. */
  granted(count: number): Promise<void> {
    this.#wanted = this.#granted + count;
    return new Promise((resolve) => {
      this.#reached = resolve;
    });
  }

  async #call(user: number): Promise<void> {
    const { store, permits, instance } = this.#gateways[user % this.#gateways.length];
    const call = callOf({ instance, sequence: this.#sequence++ }, user, this.#places);
    const entry = await permits.enter(call, BOUNDS);
    if (entry.kind === "refused") throw new Error(`refused: ${entry.reason}`);
    const decision = entry.kind === "waiting" ? await entry.decision : entry;
    if (decision.kind !== "granted") throw new Error(decision.kind);
    if (this.#places.capacity === 1 && this.#freedMs > 0)
      this.grantMs.push(performance.now() - this.#freedMs);
    this.#granted += 1;
    if (this.#granted >= this.#wanted) this.#reached();
    if (this.#holdMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#holdMs));
    this.#freedMs = performance.now();
    await store.settle(settlementOf(call, this.#places));
    permits.freed(endOf(call, decision.isCounted));
  }
}
