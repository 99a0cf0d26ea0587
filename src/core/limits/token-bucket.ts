import { lastRemainder, multiplyDivide } from "./exact-division.ts";
import type { LimitReading, TokenBucketSpec } from "./limit-spec.ts";
import { ensureEntry, entryLength, growEntry, type SubjectState } from "./subject-state.ts";

/*
 * A bucket that refills evenly, in exact integers: the level, and the remainder of the last division in units of 1 / windowMs, so that a bucket
 * that is looked at a thousand times gains exactly what one that is looked at once does (L7). Debt is a level below zero.
 *
 * Entry: (updatedMs, bucketLevel, remainder, held).
 */
const LENGTH = 4;
const UPDATED = 0;
const LEVEL = 1;
const REMAINDER = 2;
const HELD = 3;

/** The level at `nowMs`; what is left of the division is in `refilledRemainder`. */
let refilledRemainder = 0;
function refilled(state: SubjectState, entry: number, spec: TokenBucketSpec, nowMs: number): number {
  refilledRemainder = 0;
  if (entryLength(state, entry) === 0) return spec.capacity;
  const elapsedMs = Math.max(0, nowMs - state[entry + UPDATED]);
  const gained = multiplyDivide(elapsedMs, spec.refill, state[entry + REMAINDER], spec.windowMs);
  const level = state[entry + LEVEL] + gained;
  if (level >= spec.capacity) return spec.capacity;
  refilledRemainder = lastRemainder;
  return level;
}

/** Milliseconds until a level of `target` is reached from `level` and `remainder`, exactly. */
function timeToReach(target: number, level: number, remainder: number, spec: TokenBucketSpec): number {
  if (level >= target) return 0;
  const deficit = target - level;
  // The double quotient is off by less than one; the exact gain decides between its neighbours.
  let waitMs = Math.max(1, Math.floor((deficit * spec.windowMs - remainder) / spec.refill) - 1);
  // Beyond the safe integers adding 1 changes nothing.
  while (
    waitMs < Number.MAX_SAFE_INTEGER &&
    multiplyDivide(waitMs, spec.refill, remainder, spec.windowMs) < deficit
  ) {
    waitMs += 1;
  }
  return waitMs;
}

/** Milliseconds until `need` fits, if nobody calls in between (L3); 0 when it fits now. `need` must not exceed the capacity. */
export function tokenBucketWait(
  state: SubjectState,
  entry: number,
  spec: TokenBucketSpec,
  need: number,
  nowMs: number,
): number {
  const level = refilled(state, entry, spec, nowMs);
  return timeToReach(need, level, refilledRemainder, spec);
}

/** Takes `used + held` out of the bucket. Its charges need no name: a refund is capped by the burst, so it mints nothing. */
export function chargeTokenBucket(
  state: SubjectState,
  spec: TokenBucketSpec,
  used: number,
  held: number,
  nowMs: number,
): void {
  const entry = ensureEntry(state, spec.id);
  const level = refilled(state, entry, spec, nowMs);
  if (entryLength(state, entry) === 0) growEntry(state, entry, LENGTH);
  state[entry + UPDATED] = nowMs;
  state[entry + LEVEL] = level - used - held;
  state[entry + REMAINDER] = refilledRemainder;
  state[entry + HELD] += held;
}

/** Puts back what of `held` was not `used`, up to the burst. */
export function settleTokenBucket(
  state: SubjectState,
  entry: number,
  spec: TokenBucketSpec,
  held: number,
  used: number,
  nowMs: number,
): void {
  if (entryLength(state, entry) === 0) return;
  const level = refilled(state, entry, spec, nowMs) + held - used;
  state[entry + UPDATED] = nowMs;
  state[entry + LEVEL] = Math.min(spec.capacity, level);
  state[entry + REMAINDER] = level >= spec.capacity ? 0 : refilledRemainder;
  state[entry + HELD] = Math.max(0, state[entry + HELD] - held);
}

export function readTokenBucket(
  state: SubjectState,
  entry: number,
  spec: TokenBucketSpec,
  nowMs: number,
): LimitReading {
  const remaining = refilled(state, entry, spec, nowMs);
  const remainder = refilledRemainder;
  const taken = spec.capacity - remaining;
  // A hold older than its refill is no longer missing from the bucket.
  const held = entryLength(state, entry) === 0 ? 0 : Math.min(taken, state[entry + HELD]);
  return {
    used: taken - held,
    held,
    remaining,
    moreInMs: taken === 0 ? 0 : timeToReach(remaining + 1, remaining, remainder, spec),
    fullInMs: timeToReach(spec.capacity, remaining, remainder, spec),
  };
}

export function tokenBucketExpiry(state: SubjectState, entry: number, spec: TokenBucketSpec): number {
  if (entryLength(state, entry) === 0) return 0;
  const updatedMs = state[entry + UPDATED];
  return updatedMs + timeToReach(spec.capacity, state[entry + LEVEL], state[entry + REMAINDER], spec);
}

export function shiftTokenBucket(state: SubjectState, entry: number, byMs: number): void {
  if (entryLength(state, entry) > 0) state[entry + UPDATED] -= byMs;
}
