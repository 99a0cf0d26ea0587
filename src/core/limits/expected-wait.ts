import { calendarWindowWait } from "./calendar-window.ts";
import type { SubjectCharges } from "./combine.ts";
import { type IsAlive, readConcurrency } from "./concurrency.ts";
import type { LimitSpec } from "./limit-spec.ts";
import { rollingWindowWait } from "./rolling-window.ts";
import { effectiveNow, findEntry, type SubjectState } from "./subject-state.ts";
import { tokenBucketWait } from "./token-bucket.ts";

/** `total` in whole fillings of the limit, and what is left for the last one: 1 … capacity. */
function lastFilling(total: number, capacity: number): { readonly full: number; readonly rest: number } {
  const full = Math.ceil(total / capacity) - 1;
  return { full, rest: total - full * capacity };
}

function waitFor(
  state: SubjectState | undefined,
  spec: LimitSpec,
  total: number,
  clockMs: number,
  serviceMs: number,
  isAlive: IsAlive,
): number {
  if (total === 0 || spec.capacity === 0) return 0;
  const entry = state === undefined ? -1 : findEntry(state, spec.id);
  const nowMs = state === undefined ? clockMs : effectiveNow(state, clockMs);
  const { full, rest } = lastFilling(total, spec.capacity);
  switch (spec.algorithm) {
    case "rolling_window": {
      const first = entry === -1 ? 0 : rollingWindowWait(state as SubjectState, entry, spec, rest, nowMs);
      return first + full * spec.windowMs;
    }
    case "token_bucket":
      if (entry !== -1) return tokenBucketWait(state as SubjectState, entry, spec, total, nowMs);
      return Math.max(0, Math.ceil(((total - spec.capacity) * spec.windowMs) / spec.refill));
    case "calendar_window": {
      const first = entry === -1 ? 0 : calendarWindowWait(state as SubjectState, entry, spec, rest, nowMs);
      if (full === 0) return first;
      const { boundariesMs } = spec;
      // No period is shorter than what is left of this one.
      const endMs = boundariesMs.find((boundaryMs) => boundaryMs > nowMs) ?? nowMs;
      return Math.max(first, endMs - nowMs);
    }
    case "concurrency": {
      const open = entry === -1 ? 0 : readConcurrency(state as SubjectState, entry, spec, isAlive).held;
      const over = open + total - spec.capacity;
      return over <= 0 ? 0 : Math.ceil((over * serviceMs) / spec.capacity);
    }
  }
}

/**
 * Milliseconds until a call fits all of its limits if `ahead` of it so much more is charged first, by charge and in its meter's unit, as soon as that fits
 * itself. Exact for rolling windows and token buckets as long as what is ahead and the call fit the limit together; beyond, and for concurrency, where a slot is
 * taken to be free again `serviceMs` after it is taken, it is an estimate. Changes nothing. `states` in the order of `subjects`.
 */
export function expectedWait(
  states: readonly (SubjectState | undefined)[],
  subjects: readonly SubjectCharges[],
  ahead: readonly number[],
  serviceMs: number,
  clockMs: number,
  isAlive: IsAlive,
): number {
  let charge = 0;
  let waitMs = 0;
  for (let i = 0; i < subjects.length; i++) {
    for (const { spec, need } of subjects[i].charges) {
      if (!spec.shadow) {
        const wait = waitFor(states[i], spec, need + ahead[charge], clockMs, serviceMs, isAlive);
        if (wait > waitMs) waitMs = wait;
      }
      charge += 1;
    }
  }
  return waitMs;
}
