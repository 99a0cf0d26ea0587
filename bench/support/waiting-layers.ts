import { WaitingRoom } from "../../src/core/fairness/waiting-room.ts";
import type { ConcurrencySpec } from "../../src/core/limits/limit-spec.ts";
import type { LimitStore, ReserveOutcome } from "../../src/ports/limit-store.ts";
import type { PermitCall, PermitDecision } from "../../src/ports/permit-queue.ts";
import { CounterTable } from "../../src/stores/memory/counter-table.ts";
import { attemptOf } from "../../src/stores/memory/in-process-permit-queue.ts";
import { BOUNDS, callOf, endOf, PLACES, placesOf, settlementOf, TTL_MS, USERS } from "./waiting-calls.ts";

const INSTANCE = 7;
/** On the simulated clock: a hundred thousand a second. */
const CALLS_PER_MS = 100;

/** Each user's call is made once, and enters again under a new id: what callers make is not what is measured. */
class Calls {
  readonly places: ConcurrencySpec = placesOf(PLACES);
  readonly #calls = Array.from({ length: USERS }, (_, user) =>
    callOf({ instance: INSTANCE, sequence: user }, user, this.places),
  );
  #sequence = USERS;

  get all(): readonly PermitCall[] {
    return this.#calls;
  }

  again({ id }: PermitCall): void {
    (id as { sequence: number }).sequence = this.#sequence++;
  }
}

/** Something through which calls are queued and granted. */
export interface Layer {
  /** How many milliseconds so many more grants have taken, apart from the settling of the calls, which is the store's. */
  granted(count: number): Promise<number>;
}

/** The room over the limits, as the permit queue drives it, on a simulated clock and without anybody who is told. */
export function roomLayer(): Layer {
  const calls = new Calls();
  const table = new CounterTable();
  let nowMs = Date.UTC(2026, 0, 15, 12);
  table.beat(INSTANCE, Number.MAX_SAFE_INTEGER, nowMs);
  let open: { readonly call: PermitCall; readonly isCounted: boolean }[] = [];
  let at = 0;
  const room = new WaitingRoom<ReserveOutcome>(
    {
      reserve: (request, now, waits) => attemptOf(request, table.reserve(request as PermitCall, now, !waits)),
      expectedWait: (request, ahead, serviceMs, now) =>
        table.expectedWait(request.subjects, ahead, serviceMs, now),
    },
    ({ request }) => open.push({ call: request as PermitCall, isCounted: true }),
  );
  const enter = (call: PermitCall) => {
    const entry = room.enter(call, BOUNDS, nowMs);
    if (entry.kind === "turned") throw new Error(`refused: ${entry.reason}`);
    if (entry.kind === "granted") open.push({ call, isCounted: entry.isCounted });
  };
  for (const call of calls.all) enter(call);
  return {
    async granted(count) {
      let tookMs = 0;
      for (let i = 0; i < count; i++) {
        if (i % CALLS_PER_MS === 0) nowMs += 1;
        const { call, isCounted } = open[at++];
        if (at === PLACES) {
          open = open.slice(at);
          at = 0;
        }
        table.settle(settlementOf(call, calls.places), nowMs);
        const { keys, served, openMs } = endOf(call, isCounted);
        calls.again(call);
        const startedMs = performance.now();
        room.freed(keys, served, openMs, nowMs);
        enter(call);
        tookMs += performance.now() - startedMs;
      }
      return tookMs;
    },
  };
}

/** The permit queue of a store: entering, and the decision, which is told by a promise. */
export async function queueLayer(store: LimitStore): Promise<Layer> {
  const { permits } = store;
  if (permits === undefined) throw new Error("the store has no waiting room");
  await store.beat(INSTANCE, TTL_MS);
  const calls = new Calls();
  let granted = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let settlingMs = 0;
  let reached = () => {};
  let failed = (_error: unknown) => {};
  const end = (call: PermitCall, decision: PermitDecision) => {
    if (decision.kind !== "granted") throw new Error(decision.kind);
    const startedMs = performance.now();
    store.settle(settlementOf(call, calls.places)).catch(failed);
    const ended = endOf(call, decision.isCounted);
    calls.again(call);
    settlingMs += performance.now() - startedMs;
    permits.freed(ended);
    granted += 1;
    if (granted === wanted) reached();
    enter(call);
  };
  const enter = (call: PermitCall): void => {
    permits
      .enter(call, BOUNDS)
      .then((entry) => {
        if (entry.kind !== "waiting") end(call, entry);
        else entry.decision.then((decision) => end(call, decision)).catch(failed);
      })
      .catch(failed);
  };
  for (const call of calls.all) enter(call);
  return {
    async granted(count) {
      const startedMs = performance.now();
      settlingMs = 0;
      wanted = granted + count;
      await new Promise<void>((resolve, reject) => {
        reached = resolve;
        failed = reject;
      });
      return performance.now() - startedMs - settlingMs;
    },
  };
}
