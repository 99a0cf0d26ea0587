import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { imageSizeOfBase64 } from "../../src/core/estimate/image-size.ts";
import {
  claudeImageTokens,
  patchedImageTokens,
  tiledImageTokens,
} from "../../src/core/estimate/image-tokens.ts";
import { TextTokenCounter } from "../../src/core/estimate/text-tokens.ts";
import { textWeightsOf, tokenFamilyOf } from "../../src/core/estimate/token-family.ts";
import type { Endpoint } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import { runs } from "../support/property.ts";
import { countsOf, recordedCalls } from "./recorded-calls.ts";

const tokensOf = (text: string) => {
  const counter = new TextTokenCounter(textWeightsOf("o200k"));
  counter.addText(text);
  return counter.tokens;
};

const estimate = (body: object, endpoint: Endpoint = "chat_completions") =>
  (endpoint === "messages" ? anthropicFormat : openaiFormat).parseCall(
    endpoint,
    Buffer.from(JSON.stringify({ model: endpoint === "messages" ? "claude-sonnet-4-5" : "gpt-4o", ...body })),
  ).estimate.inputTokens;

/** Calls whose input cannot be told from their bodies: pictures, files, tools and memories of the provider. */
const UNTELLABLE =
  /"(?:image|image_url|input_image|document|file|input_file|input_audio|audio)"|web_|mcp|_search|code_|shell|previous_response_id|conversation|encrypted_content|prompt_cache|"container"|image_generation|computer|memory_|text_editor|advisor|elided/;

describe("input estimate", () => {
  test("is right at the median of recorded calls, tools included (E1)", () => {
    const ratios = new Map<string, number[]>();
    for (const { provider, call, requestBody, usage, status } of recordedCalls()) {
      if ((provider !== "openai" && provider !== "anthropic") || usage === undefined || status >= 400)
        continue;
      const text = requestBody.toString();
      // The few prompts of legacy completions and embeddings there are have three or four tokens: a token is a quarter of them.
      const isShort = call.endpoint === "completions" || call.endpoint === "embeddings";
      if (isShort || UNTELLABLE.test(text)) continue;
      const actual = countsOf(usage, provider).input;
      if (actual === 0) continue;
      const kind = `${call.endpoint}${text.includes('"tools"') ? " with tools" : ""}`;
      ratios.set(kind, [...(ratios.get(kind) ?? []), call.estimate.inputTokens / actual]);
    }
    const all = [...ratios.values()].flat();
    assert.ok(all.length >= 10, `only ${all.length} calls`);
    ratios.set("all", all);
    for (const [kind, found] of ratios) {
      if (found.length < 30 && kind !== "all") continue;
      // The median: a few recordings have made-up counts.
      const median = found.toSorted((one, other) => one - other)[found.length >> 1]!;
      assert.ok(Math.abs(median - 1) < 0.1, `${kind}: ${median} over ${found.length}`);
    }
  });

  test("reads texts that are too long in pieces, at the same density (E4)", () => {
    const text = "The quick brown fox jumps over the lazy dog, 42 times. ";
    const whole = tokensOf(text.repeat(1000)) / 1000;
    const sampled = tokensOf(text.repeat(50_000)) / 50_000;
    assert.ok(Math.abs(sampled / whole - 1) < 0.01, `${sampled} ${whole}`);
  });

  test("takes a prompt of 200 kB, or 10 MB of one character, without blocking (E4)", () => {
    const best = (work: () => void) => {
      let bestMs = Number.POSITIVE_INFINITY;
      for (let turn = 0; turn < 9; turn++) {
        const startMs = performance.now();
        work();
        bestMs = Math.min(bestMs, performance.now() - startMs);
      }
      return bestMs;
    };
    const prompt = "The quick brown fox jumps over the lazy dog, 42 times.\n".repeat(3700);
    const body = Buffer.from(
      JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: prompt }] }),
    );
    const parseMs = best(() => openaiFormat.parseCall("chat_completions", body));
    assert.ok(parseMs < 5, `${parseMs} ms`);
    for (const unit of ["a", " ", "\ud800", "你"]) {
      const long = unit.repeat(10_000_000);
      const countMs = best(() => tokensOf(long));
      assert.ok(countMs < 5, `${unit}: ${countMs} ms`);
    }
  });

  test("accepts lone surrogates and control characters", () => {
    for (const text of ["\ud800", "\udfff\ud800", "\u0000\u0001", "\uffff", ""]) {
      assert.ok(Number.isFinite(tokensOf(text)) && tokensOf(text) >= 0);
    }
  });

  test("counts a text in pieces as the whole", () => {
    const counter = new TextTokenCounter(textWeightsOf("claude_3"));
    const text = "Hello, wörld! 你好 12345";
    for (const unit of text) counter.addText(unit);
    const whole = new TextTokenCounter(textWeightsOf("claude_3"));
    whole.addText(text);
    assert.ok(Math.abs(counter.tokens - whole.tokens) < 1e-9);
  });

  test("does not forget tools, schemas, instructions, tool calls and results", () => {
    const user = { role: "user", content: "Hi" };
    const bare = estimate({ messages: [user] });
    const schema = { type: "object", properties: { city: { type: "string", description: "Where to look" } } };
    const tools = [
      {
        type: "function",
        function: { name: "weather", description: "Tells the weather", parameters: schema },
      },
    ];
    assert.ok(estimate({ messages: [user], tools }) > bare + 25);
    const call = {
      role: "assistant",
      tool_calls: [{ function: { name: "weather", arguments: '{"city":"Wien"}' } }],
    };
    assert.ok(estimate({ messages: [user, call] }) > bare + 10);
    assert.ok(
      estimate({ input: "Hi", instructions: "Be brief and kind to everybody." }, "responses") > bare + 5,
    );
    const message = { messages: [user] };
    const bareMessage = estimate(message, "messages");
    assert.ok(
      estimate({ ...message, system: [{ type: "text", text: "Be brief and kind." }] }, "messages") >
        bareMessage + 4,
    );
    assert.ok(
      estimate({ ...message, tools: [{ name: "w", input_schema: schema }] }, "messages") > bareMessage + 300,
    );
  });

  test("never counts base64 as text", () => {
    const data = "A".repeat(400_000);
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } };
    assert.ok(estimate({ messages: [{ role: "user", content: [image] }] }) < 2_000);
    const source = { type: "base64", media_type: "image/png", data };
    assert.ok(
      estimate({ messages: [{ role: "user", content: [{ type: "image", source }] }] }, "messages") < 2_000,
    );
    const audio = { type: "input_audio", input_audio: { data, format: "wav" } };
    assert.ok(estimate({ messages: [{ role: "user", content: [audio] }] }) < 200);
  });
});

describe("image tokens", () => {
  const base64 = (bytes: readonly number[]) => Buffer.from(bytes).toString("base64");
  const ascii = (text: string) => [...Buffer.from(text, "latin1")];

  test("read the size from the header of each format", () => {
    const size = { width: 640, height: 480 };
    const png = [
      0x89,
      ...ascii("PNG\r\n\x1a\n"),
      0,
      0,
      0,
      13,
      ...ascii("IHDR"),
      0,
      0,
      2,
      128,
      0,
      0,
      1,
      224,
      8,
      2,
    ];
    const gif = [...ascii("GIF89a"), 128, 2, 224, 1, 0, 0];
    const jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 17, 8, 1, 224, 2, 128, 3, 1];
    const riff = [...ascii("RIFF"), 0, 0, 0, 0, ...ascii("WEBP")];
    const vp8 = [...riff, ...ascii("VP8 "), 0, 0, 0, 0, 0, 0, 0, 0x9d, 0x01, 0x2a, 128, 2, 224, 1];
    const packed = 639 | (479 << 14);
    const vp8l = [
      ...riff,
      ...ascii("VP8L"),
      0,
      0,
      0,
      0,
      0x2f,
      packed & 255,
      (packed >> 8) & 255,
      (packed >> 16) & 255,
      packed >>> 24,
      0,
      0,
      0,
      0,
      0,
    ];
    const vp8x = [...riff, ...ascii("VP8X"), 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 2, 0, 0xdf, 1, 0];
    for (const bytes of [png, gif, jpeg, vp8, vp8l, vp8x])
      assert.deepEqual(imageSizeOfBase64(base64(bytes)), size);
    for (const text of [
      "",
      "AAAA",
      "/9j/",
      "/9j//8AAEQ",
      "iVBORw0KGgo",
      base64([0xff, 0xd8, 0xff, 0xe0, 0, 0]),
    ]) {
      assert.equal(imageSizeOfBase64(text), undefined);
    }
  });

  test("follow the providers' own examples", () => {
    const rule = { base: 85, perTile: 170 };
    assert.equal(tiledImageTokens({ width: 1024, height: 1024 }, rule, false), 765);
    assert.equal(tiledImageTokens({ width: 2048, height: 4096 }, rule, false), 1105);
    assert.equal(tiledImageTokens({ width: 4096, height: 8192 }, rule, true), 85);
    assert.equal(
      patchedImageTokens({ width: 1024, height: 1024 }, { multiplier: 1, patchesMax: 1536 }),
      1024,
    );
    assert.equal(claudeImageTokens({ width: 200, height: 200 }, false), 54);
    assert.equal(claudeImageTokens({ width: 1000, height: 1000 }, false), 1334);
    assert.equal(claudeImageTokens({ width: 9000, height: 9000 }, false), 1600);
  });
});

test("tokenFamilyOf tells the tokenizers apart by the model's name", () => {
  const cases = [
    ["gpt-4o", "o200k"],
    ["nobody-knows", "o200k"],
    ["claude-3-5-haiku-20241022", "claude_3"],
    ["claude-sonnet-4-20250514", "claude_3"],
    ["claude-opus-4-6", "claude_3"],
    ["claude-opus-4-7", "claude_4_7"],
    ["anthropic/claude-opus-4.8", "claude_4_7"],
    ["claude-sonnet-5", "claude_4_7"],
    ["claude-haiku-5-20261001", "claude_4_7"],
    ["claude-instant", "claude_3"],
  ] as const;
  for (const [model, family] of cases) assert.equal(tokenFamilyOf(model), family, model);
});

test("TextTokenCounter counts long texts as it counts their characters (E4)", () => {
  const unit = fc.oneof(
    fc.constantFrom(
      "a",
      "Z",
      " ",
      "\n",
      "7",
      "{",
      "é",
      "ж",
      "ع",
      "क",
      "你",
      "한",
      "😀",
      "€",
      "ꙮ",
      "\ud800",
      "\udfff",
      "\u0000",
      "\uffff",
      "A1",
      "7b3",
    ),
    fc.string({ unit: "binary", minLength: 1, maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(unit, { minLength: 40, maxLength: 200 }), (units) => {
      const text = units.join("");
      const [whole, single] = [0, 1].map(() => new TextTokenCounter(textWeightsOf("claude_4_7")));
      whole!.addText(text);
      for (let index = 0; index < text.length; index++) single!.addText(text, index, index + 1);
      assert.ok(Math.abs(whole!.tokens - single!.tokens) < 1e-6, `${whole!.tokens} ${single!.tokens}`);
    }),
    runs(500),
  );
});
