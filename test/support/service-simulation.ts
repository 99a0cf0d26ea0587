import type { Ticket } from "../../src/core/fairness/lane.ts";
import type { PermitRequest, RoomBounds } from "../../src/core/fairness/permit.ts";
import type { Attempt } from "../../src/core/fairness/permit-limits.ts";
import { WaitingRoom } from "../../src/core/fairness/waiting-room.ts";
import type { Priority } from "../../src/core/policy/policy.ts";

/** A call on its way to a server with a few places. Sizes in weighted model tokens, whole numbers ≥ 1. */
export interface SimulatedCall {
  readonly user: string;
  readonly atMs: number;
  /** As it is thought to be. */
  readonly expected: number;
  /** As it turns out. */
  readonly actual: number;
  readonly priority?: Priority;
  readonly weight?: number;
}

export interface Served {
  readonly call: SimulatedCall;
  readonly startMs: number;
  readonly endMs: number;
}

/** Decides who is served next. It calls `start`, from inside its methods, never for more calls at a time than there are places. */
export interface Scheduler {
  arrived(call: SimulatedCall, nowMs: number): void;
  ended(call: SimulatedCall, nowMs: number): void;
}

export type SchedulerOf = (places: number, start: (call: SimulatedCall) => void) => Scheduler;

export interface Server {
  readonly places: number;
  /** Of all places together, in weighted model tokens a second. */
  readonly speed: number;
}

/** Serves all calls, which are in the order of their arrival; each runs on one place at its share of the speed. In the order in which they were started. */
export function simulate(
  calls: readonly SimulatedCall[],
  { places, speed }: Server,
  of: SchedulerOf,
): Served[] {
  const served: Served[] = [];
  /** Sorted by their ends. */
  const running: Served[] = [];
  let nowMs = 0;
  const scheduler = of(places, (call) => {
    if (running.length >= places) throw new Error("more calls than places");
    const endMs = nowMs + (call.actual / (speed / places)) * 1_000;
    const one = { call, startMs: nowMs, endMs };
    served.push(one);
    let at = running.length;
    while (at > 0 && running[at - 1].endMs > endMs) at -= 1;
    running.splice(at, 0, one);
  });
  let next = 0;
  while (next < calls.length || running.length > 0) {
    if (running.length > 0 && (next === calls.length || running[0].endMs <= calls[next].atMs)) {
      const [one] = running.splice(0, 1);
      nowMs = one.endMs;
      scheduler.ended(one.call, nowMs);
    } else {
      nowMs = calls[next].atMs;
      scheduler.arrived(calls[next++], nowMs);
    }
  }
  return served;
}

/** First come, first served, whoever it is. */
export const fifo: SchedulerOf = (places, start) => {
  const waiting: SimulatedCall[] = [];
  let head = 0;
  let open = 0;
  const serve = () => {
    while (open < places && head < waiting.length) {
      open += 1;
      start(waiting[head++]);
    }
  };
  return {
    arrived(call) {
      waiting.push(call);
      serve();
    },
    ended() {
      open -= 1;
      serve();
    },
  };
};

/** The user who was served least since the beginning: without a lift, whoever was away for long has everything for a while. */
export const leastCounter: SchedulerOf = (places, start) => {
  const counters = new Map<string, number>();
  const queues = new Map<string, SimulatedCall[]>();
  let open = 0;
  const serve = () => {
    while (open < places) {
      let least: string | undefined;
      for (const [user, queue] of queues) {
        if (queue.length === 0) continue;
        if (least === undefined || (counters.get(user) ?? 0) < (counters.get(least) ?? 0)) least = user;
      }
      const call = least === undefined ? undefined : queues.get(least)?.shift();
      if (call === undefined) return;
      counters.set(call.user, (counters.get(call.user) ?? 0) + call.expected);
      open += 1;
      start(call);
    }
  };
  return {
    arrived(call) {
      const queue = queues.get(call.user);
      if (queue === undefined) queues.set(call.user, [call]);
      else queue.push(call);
      serve();
    },
    ended({ user, expected, actual }) {
      open -= 1;
      counters.set(user, (counters.get(user) ?? 0) + actual - expected);
      serve();
    },
  };
};

const NO_BOUNDS: RoomBounds = {
  waitingMax: Number.POSITIVE_INFINITY,
  waitingPerFlowMax: Number.POSITIVE_INFINITY,
  bytesMax: Number.POSITIVE_INFINITY,
  bytesPerFlowMax: Number.POSITIVE_INFINITY,
  minShares: [0, 0, 0, 0],
};
const SERVER = "server";

/** Sluice's own. */
export const waitingRoom =
  (minShares: readonly number[] = NO_BOUNDS.minShares): SchedulerOf =>
  (places, start) => {
    let open = 0;
    const spec = { id: 1, algorithm: "concurrency", capacity: places, shadow: false } as const;
    const subjects = [{ key: SERVER, charges: [{ spec, hold: 1, need: 1 }] }];
    const calls = new Map<PermitRequest, SimulatedCall>();
    const counted = new Set<SimulatedCall>();
    const reserve = (): Attempt<undefined> => {
      if (open === places) return { kind: "refused", outcome: undefined, waitMs: 1_000, limiting: 0 };
      open += 1;
      return { kind: "granted", outcome: undefined };
    };
    const room = new WaitingRoom<undefined>({ reserve, expectedWait: () => 0 }, ({ request }: Ticket) => {
      const call = calls.get(request) as SimulatedCall;
      calls.delete(request);
      counted.add(call);
      start(call);
    });
    return {
      arrived(call, nowMs) {
        const request: PermitRequest = {
          subjects,
          isShared: [true],
          flow: call.user,
          priority: call.priority ?? "normal",
          weight: call.weight ?? 1,
          size: call.expected,
          bytes: 1,
          maxWaitMs: Number.MAX_SAFE_INTEGER,
        };
        calls.set(request, call);
        const entry = room.enter(request, { ...NO_BOUNDS, minShares }, nowMs);
        if (entry.kind === "turned") throw new Error(entry.reason);
        if (entry.kind !== "granted") return;
        calls.delete(request);
        if (entry.isCounted) counted.add(call);
        start(call);
      },
      ended(call, nowMs) {
        open -= 1;
        const { user: flow, priority = "normal", actual, expected } = call;
        const served = counted.delete(call) ? { flow, priority, correction: actual - expected } : undefined;
        room.freed([SERVER], served, 1, nowMs);
      },
    };
  };

/** How much of a call's service lies between two moments. */
const overlap = ({ call, startMs, endMs }: Served, fromMs: number, toMs: number) =>
  (Math.max(0, Math.min(endMs, toMs) - Math.max(startMs, fromMs)) / (endMs - startMs)) * call.actual;

/** What each user was given between two moments, in weighted model tokens. */
export function serviceBetween(
  served: readonly Served[],
  fromMs: number,
  toMs: number,
): ReadonlyMap<string, number> {
  const given = new Map<string, number>();
  for (const one of served) {
    const part = overlap(one, fromMs, toMs);
    if (part > 0) given.set(one.call.user, (given.get(one.call.user) ?? 0) + part);
  }
  return given;
}

/** Who had a call waiting at every moment between two. */
export function backloggedBetween(
  served: readonly Served[],
  fromMs: number,
  toMs: number,
): readonly string[] {
  const waits = new Map<string, [number, number][]>();
  for (const { call, startMs } of served) {
    if (startMs <= fromMs || call.atMs >= toMs) continue;
    const own = waits.get(call.user);
    if (own === undefined) waits.set(call.user, [[call.atMs, startMs]]);
    else own.push([call.atMs, startMs]);
  }
  return [...waits].flatMap(([user, intervals]) => {
    let reachedMs = fromMs;
    for (const [from, to] of intervals.sort((a, b) => a[0] - b[0])) {
      if (from > reachedMs) break;
      reachedMs = Math.max(reachedMs, to);
    }
    return reachedMs >= toMs ? [user] : [];
  });
}

export interface Unfairness {
  /** The difference between the most and the least served of those who waited all the time, in weighted model tokens a second. */
  readonly max: number;
  readonly mean: number;
  /** Jain's index of the same users' service, (Σx)² / (n Σx²), the mean over all windows: 1 where all have the same. */
  readonly jain: number;
  readonly windows: number;
}

/** When the last call ends. */
export const endOf = (served: readonly Served[]) =>
  served.reduce((latest, { endMs }) => Math.max(latest, endMs), 0);

/** How differently users are served who wait all the time, in windows of a given length, one after the other by half. */
export function unfairness(served: readonly Served[], windowMs: number, untilMs = endOf(served)): Unfairness {
  const seconds = windowMs / 1_000;
  const differences: number[] = [];
  const indices: number[] = [];
  for (let fromMs = 0; fromMs + windowMs <= untilMs; fromMs += windowMs / 2) {
    const users = backloggedBetween(served, fromMs, fromMs + windowMs);
    if (users.length < 2) continue;
    const given = serviceBetween(served, fromMs, fromMs + windowMs);
    const rates = users.map((user) => (given.get(user) ?? 0) / seconds);
    differences.push(Math.max(...rates) - Math.min(...rates));
    indices.push(jainIndex(rates));
  }
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    max: Math.max(...differences),
    mean: mean(differences),
    jain: mean(indices),
    windows: differences.length,
  };
}

/** Jain, Chiu and Hawe (1984). */
export function jainIndex(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}

/** Weighted model tokens a second, from the first arrival to the last end. */
export function throughput(served: readonly Served[]): number {
  const from = served.reduce((first, { call }) => Math.min(first, call.atMs), Number.POSITIVE_INFINITY);
  return served.reduce((sum, { call }) => sum + call.actual, 0) / ((endOf(served) - from) / 1_000);
}

/** The max-min fair share of each demand in a capacity: whoever wants less than an even share gets it, the others share the rest evenly. */
export function maxMinShares(demands: readonly number[], capacity: number): number[] {
  const order = demands.map((_, i) => i).sort((a, b) => demands[a] - demands[b]);
  const shares = new Array<number>(demands.length).fill(0);
  let rest = capacity;
  for (const [place, i] of order.entries()) {
    shares[i] = Math.min(demands[i], rest / (order.length - place));
    rest -= shares[i];
  }
  return shares;
}
