import assert from "node:assert/strict";
import { test } from "node:test";
import { costOf } from "../../src/core/price/cost.ts";
import { completeRates, flatPrice } from "../../src/core/price/model-price.ts";
import type { ParsedCall } from "../../src/ports/provider-format.ts";
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
