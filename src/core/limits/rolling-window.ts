import type { LimitReading, RollingWindowSpec } from "./limit-spec.ts";
import { ensureEntry, entryLength, growEntry, type SubjectState, shrinkEntry } from "./subject-state.ts";

/*
 * A ring of sub-windows. One opens with the first charge after the last one's `grainMs` are over, collects what is charged in its
 * `grainMs`, and counts in full until its *last* charge is a window old. So no interval of a window's length ever holds more than the limit
 * (every charge in it still counts when the latest is decided), an idle window later everything is back, and nothing counts for longer than
 * `windowMs + grainMs` (L2). At most ⌈windowMs / grainMs⌉ + 1 sub-windows live at once.
 *
 * Entry: (startMs, lastMs, used, held)*, oldest first. `startMs` names the sub-window for refunds.
 */
const SLOT = 4;
const START = 0;
const LAST = 1;
const USED = 2;
const HELD = 3;

const isLive = (state: SubjectState, slot: number, spec: RollingWindowSpec, nowMs: number) =>
  state[slot + LAST] + spec.windowMs > nowMs;

/** Milliseconds until `need` fits, if nobody calls in between (L3); 0 when it fits now. `need` must not exceed the capacity. */
export function rollingWindowWait(
  state: SubjectState,
  entry: number,
  spec: RollingWindowSpec,
  need: number,
  nowMs: number,
): number {
  const end = entry + entryLength(state, entry);
  let counted = 0;
  for (let slot = entry; slot < end; slot += SLOT) {
    if (isLive(state, slot, spec, nowMs)) counted += state[slot + USED] + state[slot + HELD];
  }
  let excess = counted + need - spec.capacity;
  if (excess <= 0) return 0;
  for (let slot = entry; slot < end; slot += SLOT) {
    if (!isLive(state, slot, spec, nowMs)) continue;
    excess -= state[slot + USED] + state[slot + HELD];
    if (excess <= 0) return state[slot + LAST] + spec.windowMs - nowMs;
  }
  return spec.windowMs;
}

/** Counts `used` and `held` in the sub-window of now and returns its name for later refunds. */
export function chargeRollingWindow(
  state: SubjectState,
  spec: RollingWindowSpec,
  used: number,
  held: number,
  nowMs: number,
): number {
  const entry = ensureEntry(state, spec.id);
  dropExpired(state, entry, spec, nowMs);
  const length = entryLength(state, entry);
  let slot = entry + length - SLOT;
  if (length === 0 || nowMs >= state[slot + START] + spec.grainMs) {
    growEntry(state, entry, SLOT);
    slot = entry + length;
    state[slot + START] = nowMs;
  }
  state[slot + LAST] = nowMs;
  state[slot + USED] += used;
  state[slot + HELD] += held;
  return state[slot + START];
}

/** Turns a hold of sub-window `name` into `used`, or drops it; where the sub-window has passed there is nothing left to change (L7). */
export function settleRollingWindow(
  state: SubjectState,
  entry: number,
  name: number,
  held: number,
  used: number,
): void {
  const end = entry + entryLength(state, entry);
  for (let slot = entry; slot < end; slot += SLOT) {
    if (state[slot + START] !== name) continue;
    state[slot + HELD] -= held;
    state[slot + USED] += used;
    return;
  }
}

function dropExpired(state: SubjectState, entry: number, spec: RollingWindowSpec, nowMs: number): void {
  const end = entry + entryLength(state, entry);
  let live = entry;
  while (live < end && !isLive(state, live, spec, nowMs)) live += SLOT;
  if (live > entry) shrinkEntry(state, entry, entry, live - entry);
}

export function readRollingWindow(
  state: SubjectState,
  entry: number,
  spec: RollingWindowSpec,
  nowMs: number,
): LimitReading {
  const end = entry + entryLength(state, entry);
  let used = 0;
  let held = 0;
  let moreInMs = 0;
  let fullInMs = 0;
  for (let slot = entry; slot < end; slot += SLOT) {
    if (!isLive(state, slot, spec, nowMs)) continue;
    used += state[slot + USED];
    held += state[slot + HELD];
    if (state[slot + USED] + state[slot + HELD] === 0) continue;
    fullInMs = state[slot + LAST] + spec.windowMs - nowMs;
    if (moreInMs === 0) moreInMs = fullInMs;
  }
  return { used, held, remaining: spec.capacity - used - held, moreInMs, fullInMs };
}

/** When the entry has nothing left to say, in epoch ms. */
export function rollingWindowExpiry(state: SubjectState, entry: number, spec: RollingWindowSpec): number {
  const length = entryLength(state, entry);
  return length === 0 ? 0 : state[entry + length - SLOT + LAST] + spec.windowMs;
}

export function shiftRollingWindow(state: SubjectState, entry: number, byMs: number): void {
  const end = entry + entryLength(state, entry);
  for (let slot = entry; slot < end; slot += SLOT) {
    state[slot + START] -= byMs;
    state[slot + LAST] -= byMs;
  }
}
