import assert from "node:assert/strict";
import { test } from "node:test";
import type { Usage } from "../../src/core/estimate/usage.ts";
import type { CallTarget } from "../../src/core/policy/call-target.ts";
import { CallEstimates, type EstimatedCall } from "../../src/engine/call-estimates.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const CALLER = { user: "alice", plan: "free" };
const TARGET: CallTarget = { endpoint: "chat_completions", model: "gpt-4o-mini", account: "openai/main" };
const SIZE = { inputTokens: 100, outputTokensMax: undefined };
const CALL = { caller: CALLER, target: TARGET, size: SIZE };

const usage = (inputTokens: number, outputTokens: number): Usage => ({
  inputTokens,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
});

const learn = (estimates: CallEstimates, call: EstimatedCall, used: Usage) =>
  estimates.learn(call, estimates.begin(call, estimates.sizeOf(call)), used);

/** Lengths of 1 to 1,000, each once in a thousand calls, in no order. */
const lengthOf = (i: number) => ((i * 377) % 1_000) + 1;

test("CallEstimates gives the size back as it came while nothing is known", () => {
  const estimates = new CallEstimates(new RecordingTelemetry());
  assert.deepEqual(estimates.sizeOf(CALL), {
    ...SIZE,
    inputTokensRead: SIZE.inputTokens,
    outputTokensExpected: undefined,
    isOutputBorrowed: true,
  });
  const other = { ...CALL, target: { ...TARGET, endpoint: "other" as const } };
  assert.equal(estimates.sizeOf(other), SIZE);
});

test("CallEstimates corrects the input within 2 % after 200 calls, and covers nine outputs in ten (E1, E2)", () => {
  const estimates = new CallEstimates(new RecordingTelemetry());
  let covered = 0;
  for (let i = 0; i < 4_000; i++) {
    const size = { inputTokens: 50 + (i % 400), outputTokensMax: undefined };
    const call = { ...CALL, size };
    const held = estimates.sizeOf(call);
    const used = usage(Math.round(size.inputTokens * 1.15), lengthOf(i));
    if (i >= 200) assert.ok(Math.abs(held.inputTokens / used.inputTokens - 1) < 0.02, `${held.inputTokens}`);
    if (i >= 2_000) covered += used.outputTokens <= (held.outputTokensExpected ?? 0) ? 1 : 0;
    estimates.learn(call, estimates.begin(call, held), used);
  }
  assert.ok(Math.abs(covered / 2_000 - 0.9) < 0.02, `${covered} of 2,000`);
});

test("CallEstimates learns nothing of a call that is said to have used nothing (E2)", () => {
  const estimates = new CallEstimates(new RecordingTelemetry());
  for (let i = 0; i < 300; i++) learn(estimates, CALL, usage(100, 500));
  const before = estimates.sizeOf(CALL);
  for (let i = 0; i < 300; i++) learn(estimates, CALL, usage(0, 0));
  assert.deepEqual(estimates.sizeOf(CALL), before);
});

test("CallEstimates never expects more than the call lets the model write (E5)", () => {
  const estimates = new CallEstimates(new RecordingTelemetry());
  for (let i = 0; i < 300; i++) learn(estimates, CALL, usage(100, 5_000));
  assert.ok((estimates.sizeOf(CALL).outputTokensExpected ?? 0) >= 5_000);
  const bounded = { ...CALL, size: { ...SIZE, outputTokensMax: 20 } };
  assert.equal(estimates.sizeOf(bounded).outputTokensExpected, 20);
});

test("CallEstimates knows providers, models and efforts apart", () => {
  const estimates = new CallEstimates(new RecordingTelemetry());
  const high = { ...CALL, size: { ...SIZE, effort: "high" } };
  for (let i = 0; i < 500; i++) {
    learn(estimates, CALL, usage(100, 10));
    learn(estimates, high, usage(100, 4_000));
  }
  assert.ok((estimates.sizeOf(CALL).outputTokensExpected ?? 0) < 100);
  assert.ok((estimates.sizeOf(high).outputTokensExpected ?? 0) >= 4_000);
});

test("CallEstimates does not learn from a usage that cannot be true, and counts it", () => {
  const telemetry = new RecordingTelemetry();
  const estimates = new CallEstimates(telemetry);
  for (let i = 0; i < 300; i++) learn(estimates, CALL, usage(100, 10));
  const before = estimates.sizeOf(CALL).inputTokens;
  for (const absurd of [1e12, -5, Number.NaN, 90_000_000]) {
    learn(estimates, CALL, usage(absurd, 10));
  }
  assert.equal(estimates.sizeOf(CALL).inputTokens, before);
  assert.equal(telemetry.counted("usage-implausible"), 4);
});

test("CallEstimates raises an alarm when a model's estimates move by more than a tenth (E7)", () => {
  const telemetry = new RecordingTelemetry();
  const estimates = new CallEstimates(telemetry);
  for (let i = 0; i < 2_000; i++) learn(estimates, CALL, usage(100, 10));
  assert.equal(telemetry.counted("calibration-drifted"), 0);
  for (let i = 0; i < 2_000; i++) learn(estimates, CALL, usage(130, 10));
  assert.ok(telemetry.counted("calibration-drifted") >= 1);
  assert.match(JSON.stringify(telemetry.lines), /gpt-4o-mini/);
});
