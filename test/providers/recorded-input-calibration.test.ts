import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CalibrationGroup, InputCalibration } from "../../src/core/estimate/input-calibration.ts";
import { randomOf } from "../support/random.ts";
import { hasFullRecordings } from "../support/recordings.ts";
import { countsOf, recordedCalls } from "./recorded-calls.ts";

interface Call {
  readonly group: CalibrationGroup;
  readonly raw: number;
  readonly actual: number;
}

/** Calls of each provider and model, in the order of the recordings; the model with the most calls first. */
function callsByModel(): readonly (readonly Call[])[] {
  const models = new Map<string, Call[]>();
  for (const { provider, call, usage, status } of recordedCalls()) {
    if (usage === undefined || status >= 400 || call.model === "") continue;
    const actual = countsOf(usage, provider).input;
    const { inputTokens: raw, inputShape: shape } = call.estimate;
    if (actual === 0 || raw === 0) continue;
    const key = `${provider} ${call.model}`;
    const calls = models.get(key) ?? [];
    calls.push({ group: { provider, model: call.model, shape }, raw, actual });
    models.set(key, calls);
  }
  return [...models.values()].sort((one, other) => other.length - one.length);
}

/** Mean of estimate ÷ actual, estimates rounded as the engine does, of the calls behind the first 200. */
function meanBehindFirst200(calibration: InputCalibration, calls: readonly Call[]): number {
  const ratios = calls.map(({ group, raw, actual }) => {
    const estimate = Math.round(calibration.correct(group, raw));
    calibration.learn(group, raw, actual);
    return estimate / actual;
  });
  const later = ratios.slice(200);
  return later.reduce((sum, one) => sum + one, 0) / later.length;
}

const isWithin2Percent = (mean: number, name: string) =>
  assert.ok(Math.abs(mean - 1) <= 0.02, `${name}: ${mean}`);

/** The second half of each model's calls, after the first half has been learned from, comes nearer to what was used than the bare estimate does. */
function assertLearningHelps(models: readonly (readonly Call[])[]): void {
  let [bare, corrected, calls] = [0, 0, 0];
  const calibration = new InputCalibration();
  for (const model of models) {
    for (const [index, { group, raw, actual }] of model.entries()) {
      if (2 * index >= model.length) {
        bare += Math.abs(Math.log(raw / actual));
        corrected += Math.abs(Math.log(calibration.correct(group, raw) / actual));
        calls += 1;
      }
      calibration.learn(group, raw, actual);
    }
  }
  assert.ok(calls >= 10, `${calls} calls`);
  assert.ok(corrected < bare, `${corrected / calls} against ${bare / calls}`);
}

describe("InputCalibration on recorded calls", () => {
  const models = callsByModel();

  test("is unbiased over the next 1,000 calls drawn from those of a model, after 200 (E1)", () => {
    // Every model that has 200 calls in the full collection; of the selection in the repository the one that has most.
    const enough = models.filter((calls, index) => index === 0 || calls.length >= 200);
    assert.ok(!hasFullRecordings || enough.length >= 3, `${enough.length} models`);
    for (const calls of enough) {
      for (const seed of [1, 2, 3]) {
        const random = randomOf(seed);
        const drawn = Array.from({ length: 1_200 }, () => calls[Math.floor(random() * calls.length)]!);
        const { provider, model } = calls[0]!.group;
        isWithin2Percent(
          meanBehindFirst200(new InputCalibration(), drawn),
          `${provider} ${model}, seed ${seed}`,
        );
      }
    }
  });

  /** The full collection has models with enough calls of their own; of the selection in the repository all calls together show that learning helps. */
  test("is unbiased in the order of the recordings, calls never seen before, after 200 (E1)", () => {
    if (!hasFullRecordings) {
      assertLearningHelps(models);
      return;
    }
    let checked = 0;
    const calibration = new InputCalibration();
    for (const calls of models) {
      const mean = meanBehindFirst200(calibration, calls);
      const { provider, model } = calls[0]!.group;
      if (calls.length < 250) continue;
      checked++;
      isWithin2Percent(mean, `${provider} ${model}`);
    }
    assert.equal(checked, 3);
  });
});
