import {
  calendarWindowExpiry,
  calendarWindowWait,
  chargeCalendarWindow,
  readCalendarWindow,
  settleCalendarWindow,
} from "./calendar-window.ts";
import { chargeConcurrency, concurrencyFits, type IsAlive, readConcurrency } from "./concurrency.ts";
import type { LimitReading, LimitSpec } from "./limit-spec.ts";
import {
  chargeRollingWindow,
  readRollingWindow,
  rollingWindowExpiry,
  rollingWindowWait,
  settleRollingWindow,
  shiftRollingWindow,
} from "./rolling-window.ts";
import {
  clockStepBackMs,
  effectiveNow,
  findEntry,
  followingNow,
  keepUntil,
  type SubjectState,
  shiftHeader,
} from "./subject-state.ts";
import {
  chargeTokenBucket,
  readTokenBucket,
  settleTokenBucket,
  shiftTokenBucket,
  tokenBucketExpiry,
  tokenBucketWait,
} from "./token-bucket.ts";

/** What a call asks of one limit. */
export interface Charge {
  readonly spec: LimitSpec;
  /** What is held until the call is settled, in the meter's unit: a safe integer ≥ 0. */
  readonly hold: number;
  /** What must fit for the call to be admitted, ≥ `hold`: more than it where a limit is only looked at before and charged after the call. */
  readonly need: number;
}

/** All that a call asks of the limits counted under one key. */
export interface SubjectCharges {
  readonly key: string;
  readonly charges: readonly Charge[];
}

/** Charges are numbered through over all subjects of a call, in order. */
export type Verdict =
  /** `overShadow`: the limits in shadow mode that would have refused it. */
  | { readonly kind: "admitted"; readonly overShadow: readonly number[] }
  /** `limiting` is the charge that causes the longest wait. */
  | { readonly kind: "refused"; readonly waitMs: number; readonly limiting: number }
  | { readonly kind: "never_fits"; readonly limiting: number };

/** How long a call refused for concurrency is told to wait: when a slot comes free depends on another call, which nobody can foretell. */
export const CONCURRENCY_WAIT_MS = 1_000;

/** (charge, slot name, held)* of an open reservation, oldest first. */
export type Holds = number[];
const HOLD = 3;

const NONE_OVER: readonly number[] = [];

/** Milliseconds until `need` fits one limit; 0 when it fits now. */
function waitFor(
  state: SubjectState,
  spec: LimitSpec,
  need: number,
  nowMs: number,
  isAlive: IsAlive,
): number {
  const entry = findEntry(state, spec.id);
  if (entry === -1) return 0;
  switch (spec.algorithm) {
    case "rolling_window":
      return rollingWindowWait(state, entry, spec, need, nowMs);
    case "token_bucket":
      return tokenBucketWait(state, entry, spec, need, nowMs);
    case "calendar_window":
      return calendarWindowWait(state, entry, spec, need, nowMs);
    case "concurrency":
      return concurrencyFits(state, entry, spec, need, isAlive) ? 0 : CONCURRENCY_WAIT_MS;
  }
}

/** Whether one of the limits is too small for the call for ever. */
export function neverFits(subjects: readonly SubjectCharges[]): boolean {
  return subjects.some(({ charges }) =>
    charges.some(({ spec, need }) => !spec.shadow && need > spec.capacity),
  );
}

/**
 * Whether the call fits all of its limits; changes nothing (L1). After `followClock`. `states` are the subjects' states in the order of `subjects`, `undefined` for
 * those that have none yet.
 */
export function decide(
  states: readonly (SubjectState | undefined)[],
  subjects: readonly SubjectCharges[],
  clockMs: number,
  isAlive: IsAlive,
): Verdict {
  let charge = 0;
  let waitMs = 0;
  let limiting = -1;
  let neverFits = -1;
  let overShadow: number[] | undefined;
  for (let i = 0; i < subjects.length; i++) {
    const state = states[i];
    const nowMs = state === undefined ? clockMs : effectiveNow(state, clockMs);
    for (const { spec, need } of subjects[i].charges) {
      const isTooLarge = need > spec.capacity;
      const wait = isTooLarge || state === undefined ? 0 : waitFor(state, spec, need, nowMs, isAlive);
      if (isTooLarge || wait > 0) {
        if (spec.shadow) {
          overShadow ??= [];
          overShadow.push(charge);
        } else if (isTooLarge) {
          if (neverFits === -1) neverFits = charge;
        } else if (wait > waitMs) {
          waitMs = wait;
          limiting = charge;
        }
      }
      charge += 1;
    }
  }
  if (neverFits !== -1) return { kind: "never_fits", limiting: neverFits };
  if (limiting !== -1) return { kind: "refused", waitMs, limiting };
  return { kind: "admitted", overShadow: overShadow ?? NONE_OVER };
}

/**
 * Moves states back with a clock that has stepped back beyond the tolerance, so that it neither mints credit nor stands still for as long (L5).
 * To be called before anything is decided; returns whether a state was moved, in which case it must be kept even if the call is then
 * refused: else the next call would find the clock as far behind as this one.
 */
export function followClock(
  states: readonly (SubjectState | undefined)[],
  subjects: readonly { readonly charges: readonly { readonly spec: LimitSpec }[] }[],
  clockMs: number,
): boolean {
  let moved = false;
  for (let i = 0; i < subjects.length; i++) {
    const state = states[i];
    const backMs = state === undefined ? 0 : clockStepBackMs(state, clockMs);
    if (state === undefined || backMs === 0) continue;
    moved = true;
    for (const { spec } of subjects[i].charges) {
      const entry = findEntry(state, spec.id);
      if (entry === -1) continue;
      if (spec.algorithm === "rolling_window") shiftRollingWindow(state, entry, backMs);
      else if (spec.algorithm === "token_bucket") shiftTokenBucket(state, entry, backMs);
    }
    shiftHeader(state, backMs);
  }
  return moved;
}

/** Counts `used + held` on one limit and returns the name of the sub-window that took it. */
function addTo(
  state: SubjectState,
  spec: LimitSpec,
  used: number,
  held: number,
  instance: number,
  nowMs: number,
  isAlive: IsAlive,
): number {
  switch (spec.algorithm) {
    case "rolling_window": {
      const name = chargeRollingWindow(state, spec, used, held, nowMs);
      keepUntil(state, rollingWindowExpiry(state, findEntry(state, spec.id), spec));
      return name;
    }
    case "token_bucket":
      chargeTokenBucket(state, spec, used, held, nowMs);
      keepUntil(state, tokenBucketExpiry(state, findEntry(state, spec.id), spec));
      return 0;
    case "calendar_window": {
      const name = chargeCalendarWindow(state, spec, used, held, nowMs);
      keepUntil(state, calendarWindowExpiry(state, findEntry(state, spec.id), spec));
      return name;
    }
    case "concurrency":
      chargeConcurrency(state, spec, instance, held, isAlive);
      return 0;
  }
}

/**
 * Holds what an admitted call asks for. Changes `states`, appends to `holds`. The reservation of the gateway numbered `instance` is
 * open until `expiresMs` at the latest.
 */
export function hold(
  states: readonly SubjectState[],
  subjects: readonly SubjectCharges[],
  holds: Holds,
  instance: number,
  clockMs: number,
  expiresMs: number,
  isAlive: IsAlive,
): void {
  let charge = 0;
  for (let i = 0; i < subjects.length; i++) {
    const state = states[i];
    const { charges } = subjects[i];
    const nowMs = effectiveNow(state, clockMs);
    state[0] = nowMs;
    for (const { spec, hold: amount } of charges) {
      if (amount > 0) {
        const name = addTo(state, spec, 0, amount, instance, nowMs, isAlive);
        holds.push(charge, name, amount);
        if (spec.algorithm === "concurrency") keepUntil(state, expiresMs);
      }
      charge += 1;
    }
  }
}

/** What a call really used of one limit. */
export interface Settlement {
  readonly spec: LimitSpec;
  /** In the meter's unit: a safe integer ≥ 0. Without meaning for concurrency, which is only given back. */
  readonly actual: number;
}

/**
 * Replaces what a reservation holds by what its call used: the rest of a hold goes back to the sub-window it was charged in, newest hold
 * first, and what was used beyond the holds is charged now, over the limit if need be (L7, L8). Releasing is settling with zeros.
 */
export function settle(
  states: readonly SubjectState[],
  subjects: readonly { readonly charges: readonly Settlement[] }[],
  holds: Holds,
  instance: number,
  clockMs: number,
  isAlive: IsAlive,
): void {
  let charge = 0;
  for (let i = 0; i < subjects.length; i++) {
    const state = states[i];
    const { charges } = subjects[i];
    const nowMs = effectiveNow(state, clockMs);
    state[0] = nowMs;
    for (const { spec, actual } of charges) {
      let open = actual;
      for (let at = 0; at < holds.length; at += HOLD) {
        if (holds[at] !== charge) continue;
        const held = holds[at + 2];
        const used = Math.min(open, held);
        open -= used;
        settleOne(state, spec, holds[at + 1], held, used, instance, nowMs, isAlive);
      }
      if (open > 0 && spec.algorithm !== "concurrency") addTo(state, spec, open, 0, instance, nowMs, isAlive);
      charge += 1;
    }
  }
}

function settleOne(
  state: SubjectState,
  spec: LimitSpec,
  name: number,
  held: number,
  used: number,
  instance: number,
  nowMs: number,
  isAlive: IsAlive,
): void {
  const entry = findEntry(state, spec.id);
  if (entry === -1) return;
  switch (spec.algorithm) {
    case "rolling_window":
      settleRollingWindow(state, entry, name, held, used);
      return;
    case "token_bucket":
      settleTokenBucket(state, entry, spec, held, used, nowMs);
      return;
    case "calendar_window":
      settleCalendarWindow(state, entry, name, held, used);
      return;
    case "concurrency":
      chargeConcurrency(state, spec, instance, -held, isAlive);
      return;
  }
}

/** How a limit stands; changes nothing. */
export function readLimit(
  state: SubjectState | undefined,
  spec: LimitSpec,
  clockMs: number,
  isAlive: IsAlive,
): LimitReading {
  const entry = state === undefined ? -1 : findEntry(state, spec.id);
  if (state === undefined || entry === -1) {
    return { used: 0, held: 0, remaining: spec.capacity, moreInMs: 0, fullInMs: 0 };
  }
  switch (spec.algorithm) {
    case "rolling_window":
      return readRollingWindow(state, entry, spec, followingNow(state, clockMs));
    case "token_bucket":
      return readTokenBucket(state, entry, spec, followingNow(state, clockMs));
    case "calendar_window":
      return readCalendarWindow(state, entry, spec, effectiveNow(state, clockMs));
    case "concurrency":
      return readConcurrency(state, entry, spec, isAlive);
  }
}
