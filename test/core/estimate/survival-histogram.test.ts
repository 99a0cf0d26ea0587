import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BUCKETS, bucketOf, LENGTH_MAX } from "../../../src/core/estimate/length-buckets.ts";
import { SurvivalHistogram } from "../../../src/core/estimate/survival-histogram.ts";
import { runs } from "../../support/property.ts";

const SCALE = 1_000;

/** Lengths of calls that have ended, and how far those have come that run. */
const histories = fc.record({
  ended: fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 40 }),
  running: fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 40 }),
});

function histogramOf({ ended, running }: { ended: readonly number[]; running: readonly number[] }) {
  const histogram = new SurvivalHistogram(1);
  for (const length of running) histogram.reach(-1, bucketOf(length));
  for (const length of ended) {
    // Followed in two steps, the second counted too far at once.
    const half = bucketOf(Math.floor(length / 2));
    histogram.reach(-1, half);
    const tooFar = bucketOf(length) | 3;
    histogram.reach(half, tooFar);
    histogram.add(length, tooFar);
  }
  return histogram;
}

test("SurvivalHistogram is the estimator of Kaplan and Meier, running calls included (E2)", () => {
  fc.assert(
    fc.property(histories, (history) => {
      const calls = history.ended.length + history.running.length;
      const ends = history.ended.map(bucketOf);
      const all = [...ends, ...history.running.map(bucketOf)];
      const expected = new Map<number, number>();
      let alive = 1;
      for (let bucket = 0; bucket <= Math.max(...all); bucket++) {
        const atRisk = all.filter((reached) => reached >= bucket).length;
        const here = ends.filter((end) => end === bucket).length;
        expected.set(bucket, alive * (here / atRisk));
        alive *= 1 - here / atRisk;
      }
      expected.set(BUCKETS + Math.max(...all), alive);
      const packed = histogramOf(history).packed(SCALE);
      const got = new Map(
        Array.from({ length: packed.length / 2 }, (_, i) => [packed[2 * i], packed[2 * i + 1]]),
      );
      for (const [bucket, share] of expected) {
        const difference = Math.abs((got.get(bucket) ?? 0) - share * calls * SCALE);
        assert.ok(difference <= 1, `${difference} at ${bucket}`);
      }
    }),
    runs(200),
  );
});

test("SurvivalHistogram takes up what it has packed, and packs the same again", () => {
  fc.assert(
    fc.property(histories, (history) => {
      const packed = histogramOf(history).packed(SCALE);
      const other = new SurvivalHistogram(1);
      other.addPacked(packed, SCALE);
      const again = other.packed(SCALE);
      assert.equal(again.length, packed.length);
      // As exact as a float of single precision.
      const differences = again.map((value, i) => Math.abs(value - packed[i]));
      assert.ok(differences.every((difference, i) => difference <= i % 2));
    }),
    runs(100),
  );
});

test("SurvivalHistogram forgets ends and arrivals alike, however long it runs (E3)", () => {
  const histogram = new SurvivalHistogram(1 - 1 / 100);
  for (let i = 0; i < 20_000; i++) histogram.add(LENGTH_MAX);
  for (let i = 0; i < 1_000; i++) histogram.add(7);
  const packed = histogram.packed(16);
  assert.deepEqual(packed.slice(0, 1), [7]);
  assert.ok(packed[1] >= 0.999 * 16 * 100, `${packed}`);
  assert.ok(Math.abs(histogram.evidence - 100) < 1, `${histogram.evidence}`);
});

test("SurvivalHistogram takes a call back that was counted for nothing (E2)", () => {
  fc.assert(
    fc.property(histories, fc.integer({ min: 0, max: 300 }), (history, length) => {
      const histogram = histogramOf(history);
      const before = histogram.packed(SCALE);
      histogram.reach(-1, bucketOf(length));
      histogram.takeBack(bucketOf(length));
      assert.deepEqual(histogram.packed(SCALE), before);
    }),
    runs(100),
  );
});
