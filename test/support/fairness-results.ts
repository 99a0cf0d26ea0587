import { type Adversary, adversaries, type Flood, flood, SECOND_MS } from "./arrivals.ts";
import { fixtureTraces, fullTraces, type TraceCall } from "./output-traces.ts";
import { randomOf } from "./random.ts";
import {
  backloggedBetween,
  fifo,
  leastCounter,
  type SchedulerOf,
  type Served,
  type SimulatedCall,
  serviceBetween,
  simulate,
  throughput,
  type Unfairness,
  unfairness,
  waitingRoom,
} from "./service-simulation.ts";
import { type Difference, summedDifferences } from "./summed-differences.ts";
import { callsOfTrace, offeredLoad } from "./vtc-trace.ts";

export const SCHEDULERS = [
  "first come first served",
  "least counter",
  "Sluice",
  "Sluice, known lengths",
] as const;
export type SchedulerName = (typeof SCHEDULERS)[number];
type ByScheduler<T> = Readonly<Record<SchedulerName, T>>;

/** `known`: the same calls, each expected to be what it turns out to be. */
function bySchedulers<T>(
  calls: readonly SimulatedCall[],
  known: readonly SimulatedCall[],
  look: (calls: readonly SimulatedCall[], of: SchedulerOf) => T,
): ByScheduler<T> {
  return {
    "first come first served": look(calls, fifo),
    "least counter": look(calls, leastCounter),
    Sluice: look(calls, waitingRoom()),
    "Sluice, known lengths": look(known, waitingRoom()),
  };
}

/**
 * The GPU of the paper keeps 10,000 model tokens in memory, which is about so many calls of the trace at a time. With it, first come first served differs by as much as
 * they measured; nothing else was chosen.
 */
const ARENA_PLACES = 24;
/** Model tokens, input and output, that the paper's server processes in a second. */
const ARENA_TOKENS_PER_SECOND = 778;

/** The paper's trace on a server as fast as the paper's. */
export function arenaDifferences(): ByScheduler<readonly Difference[]> {
  const rows = fixtureTraces().get("vtc-arena") ?? [];
  const calls = callsOfTrace(rows);
  const tokens = rows.reduce((sum, { inputTokens, outputTokens }) => sum + inputTokens + outputTokens, 0);
  const weighted = calls.reduce((sum, { actual }) => sum + actual, 0);
  const server = { places: ARENA_PLACES, speed: ARENA_TOKENS_PER_SECOND * (weighted / tokens) };
  return bySchedulers(calls, callsOfTrace(rows, true), (given, of) =>
    summedDifferences(simulate(given, server, of)),
  );
}

/** So much more arrives than can be served. */
const OVERLOAD = 1.25;
/** Users of the traces that name none: how many, and how unlike each other (the exponent of Zipf's law). */
const DRAWN_USERS = 30;
const ZIPF = 1;

function withDrawnUsers(rows: readonly TraceCall[]): readonly TraceCall[] {
  const random = randomOf(31);
  const upTo: number[] = [];
  for (let i = 1; i <= DRAWN_USERS; i++) upTo.push((upTo.at(-1) ?? 0) + 1 / i ** ZIPF);
  return rows.map((row) => {
    const at = random() * (upTo.at(-1) as number);
    return { ...row, client: row.client ?? `drawn${upTo.findIndex((sum) => sum > at)}` };
  });
}

export interface RecordedResult {
  readonly name: string;
  readonly hours: number;
  readonly calls: number;
  readonly users: number;
  readonly schedulers: ByScheduler<Unfairness & { readonly throughput: number }>;
}

/** Every recorded trace; only those that travel with the project where the others are not there. */
export function recordedResults(): readonly RecordedResult[] {
  const traces = new Map([...fixtureTraces(), ...fullTraces()]);
  return [...traces].map(([name, recorded]) => {
    const rows = withDrawnUsers(recorded);
    const calls = callsOfTrace(rows);
    const server = { places: ARENA_PLACES, speed: offeredLoad(calls) / OVERLOAD };
    const seconds = rows[rows.length - 1].atSeconds;
    // Long beside one call, short beside the trace.
    const windowMs = Math.min(60, seconds / 20) * SECOND_MS;
    return {
      name,
      hours: seconds / 3_600,
      calls: rows.length,
      users: new Set(rows.map(({ client }) => client)).size,
      schedulers: bySchedulers(calls, callsOfTrace(rows, true), (given, of) => {
        const served = simulate(given, server, of);
        return { ...unfairness(served, windowMs), throughput: throughput(served) };
      }),
    };
  });
}

/** What a user gets while it waits all the time, as a multiple of what the others get who do. */
export function advantage(
  served: readonly Served[],
  user: string,
  windowMs: number,
  untilMs: number,
): number {
  let own = 0;
  let others = 0;
  for (let fromMs = windowMs; fromMs + windowMs <= untilMs; fromMs += windowMs) {
    const waiting = backloggedBetween(served, fromMs, fromMs + windowMs);
    if (!waiting.includes(user) || waiting.length < 2) continue;
    const given = serviceBetween(served, fromMs, fromMs + windowMs);
    const all = waiting.reduce((sum, one) => sum + (given.get(one) ?? 0), 0);
    own += given.get(user) ?? 0;
    others += (all - (given.get(user) ?? 0)) / (waiting.length - 1);
  }
  return own / others;
}

export interface AdversaryResult {
  readonly adversary: Adversary;
  readonly schedulers: ByScheduler<Unfairness & { readonly advantage: number }>;
}

export function adversaryResults(): readonly AdversaryResult[] {
  return adversaries().map((adversary) => {
    const { calls, server, windowMs } = adversary;
    // After it only what is left over is served.
    const untilMs = calls[calls.length - 1].atMs;
    const known = calls.map((call) => ({ ...call, expected: call.actual }));
    const schedulers = bySchedulers(calls, known, (given, of) => {
      const served = simulate(given, server, of);
      return {
        ...unfairness(served, windowMs, untilMs),
        advantage: advantage(served, "m", windowMs, untilMs),
      };
    });
    return { adversary, schedulers };
  });
}

export interface FloodResult extends Flood {
  /** Waits of those who chat, shortest first. */
  readonly waitsMs: ByScheduler<readonly number[]>;
}

export function floodResult(): FloodResult {
  const flooded = flood();
  const light = new Set(flooded.light);
  const known = flooded.calls.map((call) => ({ ...call, expected: call.actual }));
  const waitsMs = bySchedulers(flooded.calls, known, (given, of) =>
    simulate(given, flooded.server, of)
      .filter(({ call }) => light.has(call.user))
      .map(({ call, startMs }) => startMs - call.atMs)
      .sort((a, b) => a - b),
  );
  return { ...flooded, waitsMs };
}

export interface Rate {
  readonly atMs: number;
  /** Weighted model tokens a second. */
  readonly early: number;
  readonly late: number;
}

const RATE_WINDOW_MS = 4 * SECOND_MS;

/** What somebody gets who comes back after a while, and each of three who were there all the time. */
export function comebackRates(): ByScheduler<readonly Rate[]> {
  const adversary = adversaries().find(({ name }) => name.startsWith("comes back"));
  if (adversary === undefined) throw new Error("nobody comes back");
  const { calls, server } = adversary;
  const known = calls.map((call) => ({ ...call, expected: call.actual }));
  return bySchedulers(calls, known, (given, of) => {
    const served = simulate(given, server, of);
    const rates: Rate[] = [];
    for (let fromMs = 20 * SECOND_MS; fromMs < 116 * SECOND_MS; fromMs += RATE_WINDOW_MS / 2) {
      const between = serviceBetween(served, fromMs, fromMs + RATE_WINDOW_MS);
      const rateOf = (user: string) => (between.get(user) ?? 0) / (RATE_WINDOW_MS / SECOND_MS);
      const early = (rateOf("a") + rateOf("b") + rateOf("c")) / 3;
      rates.push({ atMs: fromMs + RATE_WINDOW_MS / 2, early, late: rateOf("m") });
    }
    return rates;
  });
}
