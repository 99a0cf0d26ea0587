import type { Meter } from "../../core/limits/limit-spec.ts";
import type { HeaderLimit } from "../../ports/provider-format.ts";

/** Of the limits on a meter the one with the least share left; the longer until full where the shares are equal. */
export function tightestLimit(limits: readonly HeaderLimit[], meter: Meter): HeaderLimit | undefined {
  let tightest: HeaderLimit | undefined;
  for (const limit of limits) {
    if (limit.meter !== meter) continue;
    if (tightest === undefined || isTighter(limit, tightest)) tightest = limit;
  }
  return tightest;
}

/** What is left, as headers say it: a whole number, never below zero, where debt is. */
export function shownRemaining(limit: HeaderLimit): number {
  return Math.max(0, Math.floor(limit.reading.remaining));
}

function isTighter(one: HeaderLimit, other: HeaderLimit): boolean {
  const difference = shareLeft(one) - shareLeft(other);
  return difference === 0 ? one.reading.fullInMs > other.reading.fullInMs : difference < 0;
}

function shareLeft(limit: HeaderLimit): number {
  return limit.limit <= 0 ? 0 : shownRemaining(limit) / limit.limit;
}
