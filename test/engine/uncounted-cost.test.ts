import assert from "node:assert/strict";
import { test } from "node:test";
import type { Usage } from "../../src/core/estimate/usage.ts";
import { completeRates, flatPrice } from "../../src/core/price/model-price.ts";
import { UncountedCost } from "../../src/engine/uncounted-cost.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const TARGET = {
  endpoint: "chat_completions",
  model: "gpt-4o-audio-preview",
  account: "openai/main",
} as const;
const TEXT = flatPrice(completeRates({ input: 25e8, output: 1e10 }));
const AUDIO = flatPrice(completeRates({ input: 25e8, output: 1e10, audioInput: 4e10, audioOutput: 8e10 }));
const usage = (part: Partial<Usage>): Usage => ({
  inputTokens: 100,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens: 10,
  reasoningTokens: 0,
  ...part,
});

test("UncountedCost says of audio that it is counted as text where the model has no price for it, once in the log (E6)", () => {
  const telemetry = new RecordingTelemetry();
  const uncounted = new UncountedCost(telemetry);
  uncounted.served(TARGET, TEXT, usage({}));
  uncounted.served(TARGET, undefined, usage({ audioInputTokens: 50 }));
  uncounted.served(TARGET, AUDIO, usage({ audioInputTokens: 50, audioOutputTokens: 5 }));
  assert.deepEqual(telemetry.lines, []);
  uncounted.served(TARGET, TEXT, usage({ audioInputTokens: 50 }));
  uncounted.served(TARGET, TEXT, usage({ audioOutputTokens: 5 }));
  uncounted.served(TARGET, TEXT, usage({ audioInputApartTokens: 5 }));
  assert.equal(telemetry.lines.length, 1);
  assert.match(telemetry.lines[0], /^warn a model has no price for audio/);
  assert.equal(telemetry.counted("audio-unpriced"), 3);
});
