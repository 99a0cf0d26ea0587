import type { CalendarWindowSpec, LimitReading } from "./limit-spec.ts";
import { ensureEntry, entryLength, growEntry, type SubjectState } from "./subject-state.ts";

/*
 * One period at a time, from a local midnight to the next. A stored period that starts after the current one can only come from a clock that was
 * ahead: it counts as the current one, so that a step back gives no credit (L5).
 *
 * Entry: (periodStartMs, used, held). `periodStartMs` names the period for refunds.
 */
const LENGTH = 3;
const PERIOD = 0;
const USED = 1;
const HELD = 2;

/** Index of the boundary that starts the period of `nowMs`. Outside all of them the nearest period counts. */
function periodIndex(spec: CalendarWindowSpec, nowMs: number): number {
  let index = spec.boundariesMs.length - 2;
  while (index > 0 && spec.boundariesMs[index] > nowMs) index -= 1;
  return index;
}

const isCurrent = (state: SubjectState, entry: number, spec: CalendarWindowSpec, nowMs: number) =>
  entryLength(state, entry) > 0 && state[entry + PERIOD] >= spec.boundariesMs[periodIndex(spec, nowMs)];

/** Milliseconds until `need` fits, if nobody calls in between (L3); 0 when it fits now. `need` must not exceed the capacity. */
export function calendarWindowWait(
  state: SubjectState,
  entry: number,
  spec: CalendarWindowSpec,
  need: number,
  nowMs: number,
): number {
  if (!isCurrent(state, entry, spec, nowMs)) return 0;
  if (state[entry + USED] + state[entry + HELD] + need <= spec.capacity) return 0;
  return Math.max(1, spec.boundariesMs[periodIndex(spec, nowMs) + 1] - nowMs);
}

/** Counts `used` and `held` in the current period and returns its name for later refunds. */
export function chargeCalendarWindow(
  state: SubjectState,
  spec: CalendarWindowSpec,
  used: number,
  held: number,
  nowMs: number,
): number {
  const entry = ensureEntry(state, spec.id);
  const current = isCurrent(state, entry, spec, nowMs);
  if (entryLength(state, entry) === 0) growEntry(state, entry, LENGTH);
  if (!current) {
    state[entry + USED] = 0;
    state[entry + HELD] = 0;
  }
  state[entry + PERIOD] = spec.boundariesMs[periodIndex(spec, nowMs)];
  state[entry + USED] += used;
  state[entry + HELD] += held;
  return state[entry + PERIOD];
}

/** Turns a hold of period `name` into `used`, or drops it; where the period has passed there is nothing left to change (L7). */
export function settleCalendarWindow(
  state: SubjectState,
  entry: number,
  name: number,
  held: number,
  used: number,
): void {
  if (entryLength(state, entry) === 0 || state[entry + PERIOD] !== name) return;
  state[entry + HELD] -= held;
  state[entry + USED] += used;
}

export function readCalendarWindow(
  state: SubjectState,
  entry: number,
  spec: CalendarWindowSpec,
  nowMs: number,
): LimitReading {
  const current = isCurrent(state, entry, spec, nowMs);
  const used = current ? state[entry + USED] : 0;
  const held = current ? state[entry + HELD] : 0;
  const endsInMs =
    used + held === 0 ? 0 : Math.max(1, spec.boundariesMs[periodIndex(spec, nowMs) + 1] - nowMs);
  return { used, held, remaining: spec.capacity - used - held, moreInMs: endsInMs, fullInMs: endsInMs };
}

export function calendarWindowExpiry(state: SubjectState, entry: number, spec: CalendarWindowSpec): number {
  if (entryLength(state, entry) === 0) return 0;
  return spec.boundariesMs[periodIndex(spec, Math.max(state[0], state[entry + PERIOD])) + 1];
}
