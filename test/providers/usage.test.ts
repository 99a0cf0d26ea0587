import assert from "node:assert/strict";
import { test } from "node:test";
import { costOf } from "../../src/core/price/cost.ts";
import { completeRates, flatPrice } from "../../src/core/price/model-price.ts";
import type { ParsedCall } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

const call = (endpoint: ParsedCall["endpoint"], stream = false): ParsedCall => ({
  endpoint,
  model: "m",
  stream,
  estimate: { inputTokens: 5, outputTokensMax: undefined },
  upstreamBody: Buffer.alloc(0),
  usageSpliced: false,
});

function usageOf(parsed: ParsedCall, answer: string) {
  const type = parsed.stream ? "text/event-stream" : "application/json";
  const meter = openaiFormat.meter(parsed, 200, type);
  meter.push(Buffer.from(answer));
  meter.finish();
  const metered = meter.metered();
  assert.ok(metered.kind === "reported", JSON.stringify(metered));
  return metered.usage;
}

const PRICE = flatPrice(completeRates({ input: 1e9, output: 1e10, audioInput: 5e9, webSearch: 1e13 }));

test("what a host leaves out of its counts, and has in its total, is paid for (E6)", () => {
  // As xAI counts reasoning, and as Mistral counts audio.
  const reasoning = usageOf(
    call("chat_completions"),
    '{"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":3541,"completion_tokens_details":{"reasoning_tokens":3500}}}',
  );
  assert.deepEqual([reasoning.inputTokens, reasoning.outputTokens], [32, 9]);
  assert.equal(costOf(PRICE, reasoning), 32_000 + 3_509 * 10_000);
  const audio = usageOf(
    call("chat_completions"),
    '{"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":386,"prompt_tokens_details":{"audio_tokens":375}}}',
  );
  assert.deepEqual([audio.inputTokens, audio.outputTokens], [9, 2]);
  assert.equal(costOf(PRICE, audio), 9_000 + 375 * 5_000 + 20_000);
});

test("what a host has in its counts is paid for once (E6)", () => {
  const usage = usageOf(
    call("chat_completions"),
    '{"usage":{"prompt_tokens":400,"completion_tokens":3600,"total_tokens":4000,"completion_tokens_details":{"reasoning_tokens":3500},"prompt_tokens_details":{"audio_tokens":375}}}',
  );
  assert.equal(costOf(PRICE, usage), 25_000 + 375 * 5_000 + 3_600 * 10_000);
});

test("web searches are paid for as OpenAI and xAI report them, whole or streamed (E6)", () => {
  const usage = '"usage":{"input_tokens":10,"output_tokens":1,"total_tokens":11}';
  const tools = '"tool_usage":{"image_gen":{"input_tokens":0},"web_search":{"num_requests":3}}';
  const whole = usageOf(call("responses"), `{${usage},${tools}}`);
  const streamed = usageOf(
    call("responses", true),
    `event: response.completed\ndata: {"type":"response.completed","response":{${usage},${tools}}}\n\n`,
  );
  // Too long to be kept.
  const long = usageOf(
    call("responses", true),
    `event: response.completed\ndata: {"type":"response.completed","response":{"output":["${"x".repeat(300_000)}"],${usage},${tools}}}\n\n`,
  );
  const xai = usageOf(
    call("chat_completions"),
    '{"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11,"server_side_tool_usage_details":{"web_search_calls":3}}}',
  );
  for (const each of [whole, streamed, long, xai]) {
    assert.equal(costOf(PRICE, each), 10_000 + 10_000 + 3 * 1e7);
  }
});

const step = (type: string, inputTokens: number, outputTokens: number, more: object = {}) => ({
  type,
  input_tokens: inputTokens,
  output_tokens: outputTokens,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
  ...more,
});

/** As Anthropic answered, whole and streamed. */
function messageUsages(usage: object) {
  const whole = JSON.stringify({ type: "message", usage });
  const streamed = [
    { type: "message_start", message: { usage: { input_tokens: 5, output_tokens: 1 } } },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage },
    { type: "message_stop" },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join("");
  return [
    [call("messages"), whole, "application/json"] as const,
    [call("messages", true), streamed, "text/event-stream"] as const,
  ].map(([parsed, answer, type]) => {
    const meter = anthropicFormat.meter(parsed, 200, type);
    meter.push(Buffer.from(answer));
    meter.finish();
    return meter.metered();
  });
}

test("what Anthropic runs for a call and leaves out of its usage is read, whole or streamed (E6, L7)", () => {
  const compacted = messageUsages({
    ...step("message", 181, 8),
    iterations: [step("compaction", 100, 83, { cache_read_input_tokens: 55_096 }), step("message", 181, 8)],
  });
  for (const metered of compacted) {
    assert.ok(metered.kind === "reported");
    const { inputTokens, outputTokens, apart = [] } = metered.usage;
    assert.deepEqual([inputTokens, outputTokens], [181, 8]);
    assert.deepEqual(
      apart.map((part) => [part.inputTokens, part.cachedInputTokens, part.outputTokens, part.model]),
      [[55_196, 55_096, 83, undefined]],
    );
  }
  const advised = messageUsages({
    ...step("message", 2_390, 121),
    iterations: [
      step("message", 1_128, 110),
      step("advisor_message", 2_518, 22, { model: "claude-opus-4-8" }),
      step("message", 1_262, 11),
    ],
  });
  for (const metered of advised) {
    assert.ok(metered.kind === "reported");
    const { inputTokens, model, apart = [] } = metered.usage;
    assert.deepEqual([inputTokens, model], [2_390, undefined]);
    assert.deepEqual(
      apart.map((part) => [part.inputTokens, part.outputTokens, part.model]),
      [[2_518, 22, "claude-opus-4-8"]],
    );
  }
});

test("an answer of another model than the one asked for says which (E6)", () => {
  const fallen = messageUsages({
    ...step("fallback_message", 412, 264),
    iterations: [
      step("message", 408, 0, { model: "claude-fable-5" }),
      step("fallback_message", 412, 264, { model: "claude-opus-4-8" }),
    ],
  });
  for (const metered of fallen) {
    assert.ok(metered.kind === "reported");
    assert.deepEqual([metered.usage.model, metered.usage.apart], ["claude-opus-4-8", undefined]);
  }
});

test("absurd steps of a call make its usage absurd, and what is none is passed over", () => {
  for (const bad of [-1, 1.5, "many", 1e12]) {
    for (const metered of messageUsages({
      ...step("message", 10, 5),
      iterations: [step("compaction", 7, bad as number)],
    })) {
      assert.equal(metered.kind, "counted", String(bad));
    }
  }
  for (const iterations of [
    null,
    7,
    "x",
    {},
    [],
    [null, 7, "x"],
    [{ type: "unheard_of", input_tokens: 9 }],
  ]) {
    for (const metered of messageUsages({ ...step("message", 10, 5), iterations })) {
      assert.ok(metered.kind === "reported", JSON.stringify(iterations));
      assert.deepEqual([metered.usage.inputTokens, metered.usage.apart], [10, undefined]);
    }
  }
});
