/**
 * The counters of one subject (a user, an account, …), packed into one flat array of numbers so that a million of them fit in memory
 * and one read and one write move them all:
 *
 *     [lastMs, expiresMs, (limitId, length, …length numbers)*]
 *
 * `lastMs` is the latest time at which the state was changed; from `expiresMs` on nothing in it counts any more. What the numbers of an entry mean is known to the algorithm that owns it
 * (`rolling-window.ts`, …); the Redis scripts use the same layout. Plain arrays of doubles, never holey: V8 keeps those unboxed.
 */
export type SubjectState = number[];

/** A clock that is behind `lastMs` by no more than this stands still until it has caught up; beyond it, the state is moved back with it (L5). */
export const CLOCK_STEP_TOLERANCE_MS = 10_000;

const HEADER = 2;
/** `limitId` and `length`. */
const ENTRY_HEADER = 2;

export function emptyState(): SubjectState {
  // A fraction first and its removal after make V8 choose unboxed doubles from the start.
  const state: SubjectState = [0.5, 0.5];
  state[0] = 0;
  state[1] = 0;
  return state;
}

export const isEmpty = (state: SubjectState): boolean => state.length <= HEADER;

/** Index of the first number of the limit's entry, or −1. Its length stands at the index before. */
export function findEntry(state: SubjectState, limitId: number): number {
  for (let at = HEADER; at < state.length; at += ENTRY_HEADER + state[at + 1]) {
    if (state[at] === limitId) return at + ENTRY_HEADER;
  }
  return -1;
}

/** The same, making an empty entry where there is none. */
export function ensureEntry(state: SubjectState, limitId: number): number {
  const found = findEntry(state, limitId);
  if (found !== -1) return found;
  state.push(limitId, 0);
  return state.length;
}

export function entryLength(state: SubjectState, entry: number): number {
  return entry < ENTRY_HEADER ? 0 : state[entry - 1];
}

/** Gives the entry `count` more numbers (zeros) at its end. Moves the entries behind it. */
export function growEntry(state: SubjectState, entry: number, count: number): void {
  const end = entry + state[entry - 1];
  const before = state.length;
  for (let i = 0; i < count; i++) state.push(0);
  for (let i = before - 1; i >= end; i--) state[i + count] = state[i];
  for (let i = end; i < end + count; i++) state[i] = 0;
  state[entry - 1] += count;
}

/** Takes `count` numbers at `at` out of the entry. */
export function shrinkEntry(state: SubjectState, entry: number, at: number, count: number): void {
  for (let i = at + count; i < state.length; i++) state[i - count] = state[i];
  state.length -= count;
  state[entry - 1] -= count;
}

/** Notes that something in the state counts until `expiresMs`. */
export function keepUntil(state: SubjectState, expiresMs: number): void {
  if (expiresMs > state[1]) state[1] = expiresMs;
}

/** The moment that counts for this subject when the store's clock says `clockMs`: time never runs backwards (L5). */
export function effectiveNow(state: SubjectState, clockMs: number): number {
  return clockMs >= state[0] || state[0] - clockMs > CLOCK_STEP_TOLERANCE_MS ? clockMs : state[0];
}

/**
 * The moment at which what moves with the clock is read: after a step back beyond the tolerance as if the state had been moved already, which only a call that is
 * decided does.
 */
export const followingNow = (state: SubjectState, clockMs: number): number => Math.max(clockMs, state[0]);

/** How far the clock has stepped back beyond the tolerance, in ms; 0 in ordinary times. */
export function clockStepBackMs(state: SubjectState, clockMs: number): number {
  const backMs = state[0] - clockMs;
  return backMs > CLOCK_STEP_TOLERANCE_MS ? backMs : 0;
}

/** Moves the header back with the clock. */
export function shiftHeader(state: SubjectState, byMs: number): void {
  state[0] -= byMs;
  state[1] -= byMs;
}
