import { type Served, serviceBetween } from "./service-simulation.ts";

/** Of the paper: differences are looked at over a minute … */
const WINDOW_MS = 60_000;
/** … around each of so many moments, from the first arrival to the last. */
const MOMENTS = 100;

export interface Difference {
  readonly atMs: number;
  /** In weighted model tokens a second. */
  readonly sum: number;
}

/**
 * How much less than the most served each user was given, summed over all of them, as the artifact of Sheng et al. (OSDI 2024) measures it for their table of
 * schedulers: no more than by how much what a user was given differs from what it asked for, so that whoever asks for little is not counted as wronged.
 */
export function summedDifferences(served: readonly Served[]): readonly Difference[] {
  const users = [...new Set(served.map(({ call }) => call.user))];
  const untilMs = served.reduce((last, { call }) => Math.max(last, call.atMs), 0);
  return Array.from({ length: MOMENTS }, (_, i) => {
    const atMs = (untilMs / MOMENTS) * i;
    const fromMs = atMs - WINDOW_MS / 2;
    const toMs = atMs + WINDOW_MS / 2;
    const given = serviceBetween(served, fromMs, toMs);
    const asked = new Map<string, number>();
    for (const { call } of served) {
      if (call.atMs < fromMs || call.atMs > toMs) continue;
      asked.set(call.user, (asked.get(call.user) ?? 0) + call.actual);
    }
    const most = Math.max(0, ...given.values());
    let sum = 0;
    for (const user of users) {
      const own = given.get(user) ?? 0;
      sum += Math.min(most - own, Math.abs((asked.get(user) ?? 0) - own));
    }
    return { atMs, sum: sum / (WINDOW_MS / 1_000) };
  });
}

export interface DifferenceSummary {
  readonly max: number;
  readonly mean: number;
}

export function summaryOf(differences: readonly Difference[]): DifferenceSummary {
  const sums = differences.map(({ sum }) => sum);
  return { max: Math.max(...sums), mean: sums.reduce((total, sum) => total + sum, 0) / sums.length };
}
