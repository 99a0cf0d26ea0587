import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OutputCalibration, type OutputCall } from "../../../src/core/estimate/output-quantile.ts";
import type { RunningOutput } from "../../../src/core/estimate/running-output.ts";
import { runs } from "../../support/property.ts";

const GROUP = { provider: "openai", model: "gpt-4o", feature: "chat", plan: "free" };
const CALL: OutputCall = { inputTokens: 500, outputTokensMax: undefined, answers: 1 };
const DEFAULT_OUTPUT = 1_024;
const WINDOW = 2_000;

const begin = (calibration: OutputCalibration, group = GROUP) =>
  calibration.begin(group, CALL, calibration.expect(group, CALL));

/** The least share of calls covered in any 2,000, where a call starts every step and each running one writes `speed` model tokens a step. */
function coverageMin(lengths: readonly number[], speed: number, groups: number): number {
  const calibration = new OutputCalibration();
  const open = new Set<{ readonly running: RunningOutput; readonly length: number; emitted: number }>();
  const covered = lengths.map((length, i) => {
    for (const stream of open) {
      stream.emitted = Math.min(stream.length, stream.emitted + speed);
      if (stream.running.isNews(stream.emitted)) calibration.emitted(stream.running, stream.emitted);
      if (stream.emitted < stream.length) continue;
      open.delete(stream);
      calibration.ended(stream.running, { inputTokens: undefined, outputTokens: stream.length });
    }
    const running = begin(calibration, { ...GROUP, feature: `f${i % groups}` });
    open.add({ running, length, emitted: 0 });
    return length <= (running.expected ?? DEFAULT_OUTPUT);
  });
  let inWindow = 0;
  let least = WINDOW;
  covered.forEach((isCovered, i) => {
    inWindow += Number(isCovered) - (i >= WINDOW ? Number(covered[i - WINDOW]) : 0);
    if (i >= WINDOW - 1) least = Math.min(least, inWindow);
  });
  return least / WINDOW;
}

/** Uniform in [0, 1), the same for the same seed. */
function* uniform(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Exponential lengths of a mean: what a model writes that ends anywhere. */
function lengthsOf(seed: number, stretches: readonly { readonly mean: number; readonly calls: number }[]) {
  const numbers = uniform(seed);
  return stretches.flatMap(({ mean, calls }) =>
    Array.from({ length: calls }, () => Math.ceil(-mean * Math.log(1 - numbers.next().value))),
  );
}

const SEED = fc.integer({ min: 1, max: 1_000_000 });

test("OutputCalibration covers 88 % of any 2,000 streams of a cold start, however many run before the first long one ends (E2)", () => {
  fc.assert(
    fc.property(
      SEED,
      fc.integer({ min: 20, max: 350 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 1, max: 30 }),
      (seed, mean, speed, groups) => {
        const least = coverageMin(lengthsOf(seed, [{ mean, calls: 4_000 }]), speed, groups);
        assert.ok(least >= 0.88, `${least}`);
      },
    ),
    runs(12),
  );
});

test("OutputCalibration covers 88 % of any 2,000 streams through a sudden change, where some 35 run at once (E2)", () => {
  fc.assert(
    fc.property(
      SEED,
      fc.integer({ min: 10, max: 100 }),
      fc.integer({ min: 2, max: 20 }),
      (seed, mean, factor) => {
        const lengths = lengthsOf(seed, [
          { mean, calls: 2_500 },
          { mean: mean * factor, calls: 3_000 },
        ]);
        const least = coverageMin(lengths, Math.ceil((mean * factor) / 35), 3);
        assert.ok(least >= 0.88, `${least}`);
      },
    ),
    runs(12),
  );
});

test("OutputCalibration does not take a model for brief because only its short calls have ended (E2)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 200, max: 800 }), fc.integer({ min: 1, max: 30 }), (short, length) => {
      const calibration = new OutputCalibration();
      const calls = Array.from({ length: 1_000 }, () => begin(calibration));
      for (const running of calls.slice(0, short)) {
        calibration.emitted(running, length);
        calibration.ended(running, { inputTokens: undefined, outputTokens: length });
      }
      for (const running of calls.slice(short)) calibration.emitted(running, 2 * length + 10);
      const hold = calibration.expect(GROUP, CALL) ?? 0;
      assert.ok(hold > 4 * (2 * length + 10), `${hold}`);
    }),
    runs(50),
  );
});

test("OutputCalibration begins with what models write anywhere, and believes ten calls more than that", () => {
  const calibration = new OutputCalibration();
  const holds = Array.from({ length: 12 }, () => {
    const running = begin(calibration);
    calibration.ended(running, { inputTokens: undefined, outputTokens: 40 });
    return calibration.expect(GROUP, CALL) ?? 0;
  });
  assert.deepEqual(
    holds,
    holds.toSorted((a, b) => b - a),
  );
  assert.ok(holds[0] >= 300 && holds[0] <= DEFAULT_OUTPUT, `${holds}`);
  assert.ok(holds[11] <= 80, `${holds}`);
});

test("OutputCalibration learns how far dropped calls came, and owes nothing for them (E2)", () => {
  const calibration = new OutputCalibration();
  const send = (outputTokens: number) =>
    calibration.ended(begin(calibration), { inputTokens: undefined, outputTokens });
  for (let i = 0; i < 1_000; i++) send(100 + (i % 50));
  const before = calibration.expect(GROUP, CALL) ?? 0;
  for (let i = 0; i < 2_000; i++) {
    const running = begin(calibration);
    calibration.emitted(running, 90);
    calibration.dropped(running);
  }
  for (let i = 0; i < 100; i++) send(100 + (i % 50));
  const after = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(Math.abs(after - before) <= 0.05 * before, `${after} after ${before}`);
});

test("OutputCalibration tells other instances of calls that still run (E2)", () => {
  const one = new OutputCalibration();
  for (let i = 0; i < 300; i++) one.ended(begin(one), { inputTokens: undefined, outputTokens: 20 });
  for (let i = 0; i < 300; i++) one.emitted(begin(one), 90);
  const other = new OutputCalibration();
  other.absorb("one", one.snapshot());
  const hold = other.expect(GROUP, CALL) ?? 0;
  assert.ok(hold > 300, `${hold}`);
});

test("OutputCalibration holds more where calls of which nothing is seen should have come far, and takes that back where they fail (E2)", () => {
  const calibration = new OutputCalibration();
  for (let i = 0; i < 20; i++) {
    calibration.ended(begin(calibration), { inputTokens: undefined, outputTokens: 100 });
  }
  const before = calibration.expect(GROUP, CALL) ?? 0;
  const unseen = Array.from({ length: 40 }, () => begin(calibration));
  for (const running of unseen) {
    calibration.presumed(running, 1_000);
    assert.equal(running.isNews(1_001), false);
    assert.ok(running.isNews(2_000));
  }
  const meanwhile = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(meanwhile >= 1_000, `${meanwhile}`);
  for (const running of unseen) calibration.dropped(running);
  for (let i = 0; i < 20; i++) {
    calibration.ended(begin(calibration), { inputTokens: undefined, outputTokens: 100 });
  }
  const after = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(after <= 1.2 * before, `${after} after ${before}`);
});

test("OutputCalibration takes no call that nothing is seen of for a miss before it ends (E2)", () => {
  const [calibration, other] = [new OutputCalibration(), new OutputCalibration()];
  for (let i = 0; i < 500; i++) {
    for (const each of [calibration, other]) {
      const running = begin(each);
      if (each === calibration) each.presumed(running, 2 * (running.expected ?? 100));
      each.ended(running, { inputTokens: undefined, outputTokens: 100 });
    }
  }
  assert.equal(calibration.expect(GROUP, CALL), other.expect(GROUP, CALL));
});
