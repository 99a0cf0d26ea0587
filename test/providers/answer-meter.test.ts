import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { UsageMeter } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

const JSON_TYPE = "application/json";
const chat = () => {
  const call = openaiFormat.parseCall(
    "chat_completions",
    Buffer.from('{"model":"gpt-4o","messages":[{"role":"user","content":"Why is the sky blue?"}]}'),
  );
  return { call, meter: openaiFormat.meter(call, 200, JSON_TYPE) };
};

describe("meter of an answer in one object", () => {
  test("is not fooled by a text that contains a usage (S2)", () => {
    const { meter } = chat();
    const lie = '"usage":{"prompt_tokens":1,"completion_tokens":1}';
    const answer = {
      choices: [{ message: { content: lie, usage: { prompt_tokens: 2 } } }],
      usage: { prompt_tokens: 14, completion_tokens: 20, completion_tokens_details: { reasoning_tokens: 5 } },
      note: lie,
    };
    meter.push(Buffer.from(JSON.stringify(answer)));
    assert.deepEqual(meter.metered(), {
      kind: "reported",
      usage: {
        inputTokens: 14,
        cachedInputTokens: 0,
        cacheWriteInputTokens: 0,
        outputTokens: 20,
        reasoningTokens: 5,
      },
    });
  });

  test("finds the usage behind 64 MB without keeping them (S3)", () => {
    const { meter } = chat();
    const before = process.memoryUsage().arrayBuffers;
    meter.push(Buffer.from('{"choices":[{"message":{"content":"'));
    const filler = Buffer.alloc(1 << 20, "a");
    for (let turn = 0; turn < 64; turn++) assert.equal(meter.push(filler), filler);
    meter.push(Buffer.from('"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}'));
    assert.ok(process.memoryUsage().arrayBuffers - before < 8_000_000);
    const metered = meter.metered();
    assert.ok(metered.kind === "reported" && metered.usage.outputTokens === 4);
  });

  test("counts an answer that is cut or carries no usage (S2)", () => {
    const { call, meter } = chat();
    assert.deepEqual(meter.metered(), {
      kind: "counted",
      usage: {
        inputTokens: call.estimate.inputTokens,
        cachedInputTokens: 0,
        cacheWriteInputTokens: 0,
        outputTokens: 0,
        reasoningTokens: 0,
      },
    });
    const text = "Sunlight is scattered by the molecules of the air, and blue light most of all.";
    meter.push(Buffer.from(`{"choices":[{"message":{"role":"assistant","content":"${text}`));
    const metered = meter.metered();
    assert.ok(metered.kind === "counted");
    assert.ok(
      metered.usage.outputTokens >= 14 && metered.usage.outputTokens <= 20,
      `${metered.usage.outputTokens}`,
    );
  });

  test("charges nothing for errors, in the status or in the body (S2)", () => {
    const { call, meter } = chat();
    meter.push(Buffer.from('{"error":{"message":"no"},"id":"x"}'));
    assert.equal(meter.metered().kind, "none");
    for (const status of [400, 429, 500, 529, 302]) {
      const failed = openaiFormat.meter(call, status, JSON_TYPE);
      failed.push(Buffer.from('{"usage":{"prompt_tokens":3,"completion_tokens":4}}'));
      assert.equal(failed.metered().kind, "none");
    }
  });

  test("counts all input of a message, cached or not (S2)", () => {
    const call = anthropicFormat.parseCall(
      "messages",
      Buffer.from('{"model":"claude-sonnet-4-5","messages":[]}'),
    );
    const meter = anthropicFormat.meter(call, 200, JSON_TYPE);
    const usage = {
      input_tokens: 1,
      cache_creation_input_tokens: 20,
      cache_read_input_tokens: 300,
      output_tokens: 4000,
    };
    meter.push(Buffer.from(JSON.stringify({ content: [], usage })));
    assert.deepEqual(meter.metered(), {
      kind: "reported",
      usage: {
        inputTokens: 321,
        cachedInputTokens: 300,
        cacheWriteInputTokens: 20,
        outputTokens: 4000,
        reasoningTokens: 0,
      },
    });
  });

  test("reports what has a price of its own: long cache writes and searches, audio, OpenAI's cache writes (E6)", () => {
    const usageOf = (meter: UsageMeter, usage: unknown) => {
      meter.push(Buffer.from(JSON.stringify({ usage })));
      const metered = meter.metered();
      return metered.kind === "reported" ? metered.usage : metered.kind;
    };
    const call = anthropicFormat.parseCall(
      "messages",
      Buffer.from('{"model":"claude-sonnet-4-5","messages":[]}'),
    );
    assert.deepEqual(
      usageOf(anthropicFormat.meter(call, 200, JSON_TYPE), {
        input_tokens: 1,
        cache_creation_input_tokens: 20,
        cache_creation: { ephemeral_5m_input_tokens: 5, ephemeral_1h_input_tokens: 15 },
        server_tool_use: { web_search_requests: 2 },
        output_tokens: 3,
      }),
      {
        inputTokens: 21,
        cachedInputTokens: 0,
        cacheWriteInputTokens: 20,
        outputTokens: 3,
        reasoningTokens: 0,
        cacheWriteLongInputTokens: 15,
        webSearches: 2,
      },
    );
    assert.deepEqual(
      usageOf(chat().meter, {
        prompt_tokens: 100,
        completion_tokens: 30,
        prompt_tokens_details: { cached_tokens: 10, cache_write_tokens: 20, audio_tokens: 40 },
        completion_tokens_details: { reasoning_tokens: 5, audio_tokens: 7 },
      }),
      {
        inputTokens: 100,
        cachedInputTokens: 10,
        cacheWriteInputTokens: 20,
        outputTokens: 30,
        reasoningTokens: 5,
        audioInputTokens: 40,
        audioOutputTokens: 7,
      },
    );
  });

  test("reports how a call was served, in the provider's word, wherever that stands (E6)", () => {
    const tierOf = (meter: UsageMeter, answer: unknown, framed = false) => {
      const text = JSON.stringify(answer);
      meter.push(Buffer.from(framed ? `data: ${text}\n\n` : text));
      if (framed) meter.push(Buffer.from("data: [DONE]\n\n"));
      const metered = meter.metered();
      return metered.kind === "reported" ? metered.usage.serviceTier : metered.kind;
    };
    const usage = { prompt_tokens: 1, completion_tokens: 2 };
    assert.equal(tierOf(chat().meter, { service_tier: "flex", usage }), "flex");
    assert.equal(tierOf(chat().meter, { usage, choices: [], service_tier: "priority" }), "priority");
    for (const odd of [null, 7, "", "x".repeat(33), {}]) {
      assert.equal(tierOf(chat().meter, { service_tier: odd, usage }), undefined, JSON.stringify(odd));
    }
    const streamed = (endpoint: "chat_completions" | "responses") => {
      const body = Buffer.from('{"model":"gpt-4o","stream":true,"input":"","messages":[]}');
      return openaiFormat.meter(openaiFormat.parseCall(endpoint, body), 200, "text/event-stream");
    };
    const chunk = { choices: [], service_tier: "flex", usage };
    assert.equal(tierOf(streamed("chat_completions"), chunk, true), "flex");
    const response = { service_tier: "flex", usage: { input_tokens: 1, output_tokens: 2 } };
    assert.equal(tierOf(streamed("responses"), { type: "response.completed", response }, true), "flex");
    // Also where the event is too long to be kept.
    const long = { ...response, output: "x".repeat(300_000) };
    assert.equal(tierOf(streamed("responses"), { type: "response.completed", response: long }, true), "flex");
    const message = (fields: object) => {
      const call = anthropicFormat.parseCall(
        "messages",
        Buffer.from('{"model":"claude-opus-4-8","messages":[]}'),
      );
      return tierOf(anthropicFormat.meter(call, 200, JSON_TYPE), {
        usage: { input_tokens: 1, output_tokens: 2, ...fields },
      });
    };
    assert.equal(message({ service_tier: "standard", inference_geo: "global" }), "standard");
    assert.equal(message({ service_tier: "priority", speed: "standard" }), "priority");
    assert.equal(message({ service_tier: "standard", speed: "fast" }), "fast");
    assert.equal(message({ service_tier: "standard", inference_geo: "us" }), "us");
  });

  test("parseCall says how a call wants to be served (E6)", () => {
    const asked = (format: typeof openaiFormat, endpoint: "chat_completions" | "messages", fields: object) =>
      format.parseCall(endpoint, Buffer.from(JSON.stringify({ model: "m", messages: [], ...fields })))
        .estimate.serviceTier;
    assert.equal(asked(openaiFormat, "chat_completions", { service_tier: "flex" }), "flex");
    assert.equal(asked(openaiFormat, "chat_completions", { service_tier: { flex: 1 } }), undefined);
    assert.equal(asked(openaiFormat, "chat_completions", {}), undefined);
    assert.equal(asked(anthropicFormat, "messages", { service_tier: "auto" }), undefined);
    assert.equal(asked(anthropicFormat, "messages", { speed: "fast" }), "fast");
    assert.equal(asked(anthropicFormat, "messages", { inference_geo: "us" }), "us");
  });
});
