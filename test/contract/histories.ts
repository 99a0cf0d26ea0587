import fc from "fast-check";
import type { LimitSpec } from "../../src/core/limits/limit-spec.ts";
import { bucket, calendar, rolling } from "./limit-specs.ts";

let keys = 0;
/** Counters of a test's own. */
export const newKey = () => `user=test-${process.pid}-${keys++}`;

/** A step of a history. Small amounts around the limit: a window neither full nor empty is where the bugs are. */
const step = fc.record({
  advanceMs: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 1, max: 40 }),
    fc.integer({ min: 40, max: 700 }),
    fc.integer({ min: 900, max: 1_300 }),
  ),
  action: fc.constantFrom("reserve", "reserve", "reserve", "settle", "release", "extend"),
  amount: fc.integer({ min: 1, max: 6 }),
  pick: fc.nat(9),
});
export const steps = fc.array(step, { maxLength: 40 });
/** As long as they may be: left to themselves, histories are so short that a window seldom passes in them. */
export const longSteps = fc.array(step, { minLength: 10, maxLength: 60, size: "max" });

export const WINDOW_MS = 1_000;

/** Every kind of limit that time gives back, tight enough to be reached. */
export const timedSpecs = (nowMs: number): readonly LimitSpec[] => [
  rolling(10, WINDOW_MS),
  rolling(7, 700, { grainMs: 100 }),
  bucket(8, 10, WINDOW_MS),
  bucket(5, 3, 777),
  calendar(9, [
    nowMs - 500,
    nowMs + 500,
    nowMs + 1_500,
    nowMs + 3_500,
    nowMs + 60_000,
    nowMs + 90_000,
    nowMs + 200_000,
  ]),
];
