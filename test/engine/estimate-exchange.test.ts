import assert from "node:assert/strict";
import { test } from "node:test";
import { OperationalError } from "../../src/core/operational-error.ts";
import { CallEstimates } from "../../src/engine/call-estimates.ts";
import { EstimateExchange } from "../../src/engine/estimate-exchange.ts";
import { MemoryCalibrationStore } from "../../src/stores/memory/memory-calibration-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const CALL = {
  caller: { user: "alice", plan: "free" },
  target: { endpoint: "chat_completions", model: "gpt-4o-mini", account: "openai/main" },
  size: { inputTokens: 100, outputTokensMax: undefined },
} as const;

function learn(estimates: CallEstimates, inputTokens: number, outputTokens: number): void {
  const usage = {
    inputTokens,
    cachedInputTokens: 0,
    cacheWriteInputTokens: 0,
    outputTokens,
    reasoningTokens: 0,
  };
  for (let i = 0; i < 300; i++) {
    estimates.learn(CALL, estimates.begin(CALL, estimates.sizeOf(CALL)), usage);
  }
}

const startGateway = async (store: MemoryCalibrationStore) => {
  const telemetry = new RecordingTelemetry();
  const estimates = new CallEstimates(telemetry);
  const exchange = new EstimateExchange(estimates, store, telemetry);
  await exchange.start();
  return { estimates, exchange, telemetry };
};

test("EstimateExchange tells one gateway what another has learned, and a restarted one what it knew", async () => {
  const store = new MemoryCalibrationStore(new ManualClock());
  const one = await startGateway(store);
  const other = await startGateway(store);
  learn(one.estimates, 150, 700);
  await one.exchange.exchange();
  assert.equal(other.estimates.sizeOf(CALL).outputTokensExpected, undefined);
  await other.exchange.exchange();
  const size = other.estimates.sizeOf(CALL);
  assert.ok(Math.abs(size.inputTokens - 150) <= 3, `${size.inputTokens}`);
  assert.ok((size.outputTokensExpected ?? 0) >= 700);
  await one.exchange.stop();
  await other.exchange.stop();
  const restarted = await startGateway(store);
  assert.deepEqual(restarted.estimates.sizeOf(CALL), size);
  await restarted.exchange.stop();
});

test("EstimateExchange publishes as much as a store takes, the broader groups and what learned last", async () => {
  const store = new MemoryCalibrationStore(new ManualClock());
  const telemetry = new RecordingTelemetry();
  const padding = "x".repeat(500);
  const snapshot = {
    input: Array.from({ length: 3_000 }, (_, index) => ({ index, padding })),
    output: {
      version: 2,
      revision: 1,
      groups: Array.from({ length: 3_000 }, (_, path) => ({ path, padding })),
    },
  };
  const learned = { learned: 1, snapshot: () => snapshot, absorb: () => {} } as unknown as CallEstimates;
  await new EstimateExchange(learned, store, telemetry).exchange();
  assert.equal(telemetry.counted("store-failed"), 0);
  const [body] = [...(await store.load()).values()];
  const told = JSON.parse(body) as typeof snapshot;
  assert.deepEqual(told.input.at(-1), snapshot.input.at(-1));
  assert.deepEqual(told.output.groups[0], snapshot.output.groups[0]);
  assert.ok(told.input.length > 500 && told.output.groups.length > 500);
});

test("EstimateExchange never rejects, whatever goes wrong, and says so in the log", async () => {
  const telemetry = new RecordingTelemetry();
  const store = new MemoryCalibrationStore(new ManualClock());
  store.load = () => Promise.reject(new TypeError("a bug"));
  await new EstimateExchange(new CallEstimates(telemetry), store, telemetry).exchange();
  assert.equal(telemetry.counted("store-failed"), 1);
  assert.match(telemetry.lines.join(), /estimates could not be exchanged.*a bug/);
});

test("EstimateExchange publishes only what is its own, and only when it has learned", async () => {
  const store = new MemoryCalibrationStore(new ManualClock());
  const one = await startGateway(store);
  learn(one.estimates, 150, 700);
  await one.exchange.stop();
  const other = await startGateway(store);
  await other.exchange.stop();
  assert.equal((await store.load()).size, 1, "what was absorbed is not published again");
});

test("EstimateExchange goes on without a store, and leaves alone what it does not understand", async () => {
  const store = new MemoryCalibrationStore(new ManualClock());
  for (const [name, body] of [
    "",
    "null",
    "[]",
    "{",
    '{"input":[null,1,{}],"output":{"version":99}}',
  ].entries()) {
    await store.publish(`x${name}`, body);
  }
  const one = await startGateway(store);
  const { inputTokens: inputTokensRead } = CALL.size;
  const unknown = {
    ...CALL.size,
    inputTokensRead,
    outputTokensExpected: undefined,
    isOutputBorrowed: true,
  };
  assert.deepEqual(one.estimates.sizeOf(CALL), unknown);
  store.load = () => Promise.reject(new OperationalError("store_unavailable", "away"));
  await one.exchange.exchange();
  assert.equal(one.telemetry.counted("store-failed"), 1);
  await one.exchange.stop();
});
