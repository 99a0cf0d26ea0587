import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Endpoint, ParsedCall, ProviderFormat, UsageMeter } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import { runs } from "../support/property.ts";

const SSE = "text/event-stream; charset=utf-8";

function called(endpoint: Endpoint, usageSpliced: boolean): ParsedCall {
  return {
    endpoint,
    model: endpoint === "messages" ? "claude-sonnet-4-5" : "gpt-4o",
    stream: true,
    estimate: { inputTokens: 40, outputTokensMax: undefined },
    upstreamBody: Buffer.alloc(0),
    usageSpliced,
  };
}

const chat = (usageSpliced: boolean) =>
  openaiFormat.meter(called("chat_completions", usageSpliced), 200, SSE);
const messages = () => anthropicFormat.meter(called("messages", false), 200, SSE);
const responses = () => openaiFormat.meter(called("responses", false), 200, SSE);

interface Piece {
  readonly event: string;
  readonly isExtra: boolean;
}

const chunk = (fields: object) => `data: ${JSON.stringify({ id: "chatcmpl-1", ...fields })}`;
const choice = (delta: object) => ({ choices: [{ index: 0, delta, finish_reason: null }], usage: null });

/** Texts that look like the things a meter looks for, and characters of every length. */
const written = fc.oneof(
  fc.constantFrom(
    '"usage":{"prompt_tokens":1}',
    '"choices":[]',
    "data: [DONE]\n\n",
    "",
    "😀",
    "你好",
    "é\\",
    "\r\n\r\n",
    "\ud800",
  ),
  fc.string({ maxLength: 12, unit: "grapheme" }),
);
const content: fc.Arbitrary<Piece> = fc.oneof(
  written.map((text) => ({ event: chunk(choice({ content: text })), isExtra: false })),
  written.map((text) => ({
    event: chunk(choice({ tool_calls: [{ index: 0, function: { arguments: text } }] })),
    isExtra: false,
  })),
  fc.constantFrom(
    { event: ": OPENROUTER PROCESSING", isExtra: false },
    { event: chunk({ choices: [], prompt_filter_results: [{ prompt_index: 0 }] }), isExtra: false },
    { event: chunk({ choices: [], usage: null }), isExtra: false },
    { event: chunk({ usage: { prompt_tokens: 1, completion_tokens: 1 } }), isExtra: false },
    {
      event: chunk({ choices: [{ index: 0, delta: {} }], usage: { prompt_tokens: 1, completion_tokens: 1 } }),
      isExtra: false,
    },
    { event: "event: ping\ndata: {}", isExtra: false },
    { event: "", isExtra: false },
  ),
);
const extra: Piece = {
  event: chunk({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 } }),
  isExtra: true,
};
const lineEnds = fc.constantFrom("\n", "\r\n");

/** A chat stream with its extra usage chunk, how it should look without, and the sizes of the pieces that it comes in. */
const splicedStream = fc
  .record({
    pieces: fc.array(content, { maxLength: 8 }),
    end: lineEnds,
    sizes: fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 400 })), {
      minLength: 1,
    }),
  })
  .map(({ pieces, end, sizes }) => {
    const all = [...pieces, extra, { event: "data: [DONE]", isExtra: false }].map(({ event, isExtra }) => ({
      bytes: Buffer.from(event.replaceAll("\n", end) + (event === "" ? end : end + end)),
      isExtra,
    }));
    return {
      sent: Buffer.concat(all.map(({ bytes }) => bytes)),
      expected: Buffer.concat(all.filter(({ isExtra }) => !isExtra).map(({ bytes }) => bytes)),
      events: all,
      sizes,
    };
  });

function pushInPieces(meter: UsageMeter, bytes: Buffer, sizes: readonly number[]): Buffer {
  const out: Buffer[] = [];
  let from = 0;
  for (let turn = 0; from < bytes.length; turn++) {
    const to = from + sizes[turn % sizes.length]!;
    // A copy: what was returned must not change when the meter goes on.
    out.push(meter.push(Buffer.from(bytes.subarray(from, to))));
    from = to;
  }
  out.push(meter.finish());
  return Buffer.concat(out);
}

describe("openai meter", () => {
  test("takes out the extra usage chunk and nothing else, however the stream is cut into pieces (S1)", () => {
    fc.assert(
      fc.property(splicedStream, ({ sent, expected, sizes }) => {
        const meter = chat(true);
        assert.equal(pushInPieces(meter, sent, sizes).toString("latin1"), expected.toString("latin1"));
        const metered = meter.metered();
        assert.ok(metered.kind === "reported" && metered.usage.inputTokens === 12);
        assert.equal(metered.usage.outputTokens, 34);
      }),
      runs(1500),
    );
  });

  test("leaves every byte of a stream that was not spliced, and reads the same usage (S1)", () => {
    fc.assert(
      fc.property(splicedStream, ({ sent, sizes }) => {
        const meter = chat(false);
        assert.equal(pushInPieces(meter, sent, sizes).toString("latin1"), sent.toString("latin1"));
        const metered = meter.metered();
        assert.ok(metered.kind === "reported" && metered.usage.outputTokens === 34);
      }),
      runs(800),
    );
  });

  test("never holds back an event that is complete, nor the start of one with choices (S1)", () => {
    fc.assert(
      fc.property(splicedStream, fc.nat(), ({ events }, at) => {
        const meter = chat(true);
        for (const { bytes, isExtra } of events) {
          const middle = Math.min(bytes.length, at % (bytes.length + 1));
          const head = meter.push(Buffer.from(bytes.subarray(0, middle)));
          const tail = meter.push(Buffer.from(bytes.subarray(middle)));
          assert.equal(head.length + tail.length, isExtra ? 0 : bytes.length);
          const begun = bytes.toString("latin1", 0, middle);
          if (begun.includes('"choices":[{')) assert.equal(head.length, middle);
        }
      }),
      runs(500),
    );
  });

  test("returns the very buffer it was given for whole events (S1)", () => {
    const meter = chat(true);
    const event = Buffer.from(`${chunk(choice({ content: "hi" }))}\n\n`);
    assert.equal(meter.push(event), event);
    const half = event.subarray(0, 60);
    assert.equal(meter.push(half), half);
  });

  test("passes on any bytes without throwing, spliced or not (X3)", () => {
    const kinds: readonly (readonly [ProviderFormat, Endpoint])[] = [
      [openaiFormat, "chat_completions"],
      [openaiFormat, "responses"],
      [openaiFormat, "completions"],
      [anthropicFormat, "messages"],
    ];
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(`data: ${text}\n\n`)),
      fc
        .tuple(
          fc.constantFrom(
            "message_start",
            "message_delta",
            "error",
            "response.completed",
            "content_block_start",
          ),
          fc.constantFrom(
            "usage",
            "message",
            "delta",
            "error",
            "response",
            "choices",
            "item",
            "content_block",
          ),
          fc.json(),
        )
        .map(([type, key, text]) =>
          Buffer.from(`event: ${type}\ndata: {"type":"${type}","${key}":${text}}\n\n`),
        ),
    );
    fc.assert(
      fc.property(fc.array(hostile), fc.constantFrom(...kinds), ([...pieces], [format, endpoint]) => {
        const meter = format.meter(called(endpoint, false), 200, SSE);
        for (const piece of pieces) assert.equal(meter.push(piece), piece);
        assert.equal(meter.finish().length, 0);
        const metered = meter.metered();
        if (metered.kind === "none") return;
        for (const count of Object.values(metered.usage))
          assert.ok(Number.isSafeInteger(count) && count >= 0);
        meter.inStreamError();
      }),
      runs(1500),
    );
  });

  test("bounds its memory over an endless event and still reads a usage at its end (S3)", () => {
    const meter = responses();
    const before = process.memoryUsage();
    meter.push(
      Buffer.from('event: response.completed\ndata: {"type":"response.completed","response":{"output":["'),
    );
    const filler = Buffer.alloc(65_536, "A");
    for (let turn = 0; turn < 512; turn++) assert.equal(meter.push(filler), filler);
    const after = process.memoryUsage();
    assert.ok(
      after.arrayBuffers - before.arrayBuffers < 8_000_000,
      `${after.arrayBuffers - before.arrayBuffers}`,
    );
    meter.push(Buffer.from('"],"usage":{"input_tokens":5,"output_tokens":6}}}\n'));
    meter.push(Buffer.from("\n"));
    assert.deepEqual(meter.metered(), {
      kind: "reported",
      usage: {
        inputTokens: 5,
        cachedInputTokens: 0,
        cacheWriteInputTokens: 0,
        outputTokens: 6,
        reasoningTokens: 0,
      },
    });
  });

  test("gives back at the end what it held of an unfinished event (S1)", () => {
    const meter = chat(true);
    const start = Buffer.from('data: {"id":"chatcmpl-1","obj');
    assert.equal(meter.push(start).length, 0);
    assert.equal(meter.finish().toString(), start.toString());
  });

  test("takes absurd usage for none, and more cached than prompt tokens for all of them (S2)", () => {
    for (const absurd of [-1, 1.5, 1e308, 2e9, "7", {}]) {
      const meter = chat(false);
      const usage = { prompt_tokens: 5, completion_tokens: absurd };
      meter.push(Buffer.from(`${chunk({ choices: [], usage })}\n\n`));
      assert.equal(meter.metered().kind, "counted", `${absurd}`);
    }
    const meter = chat(false);
    const usage = { prompt_tokens: 5, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 9 } };
    meter.push(Buffer.from(`${chunk({ choices: [], usage })}\n\n`));
    const metered = meter.metered();
    assert.ok(metered.kind === "reported" && metered.usage.cachedInputTokens === 5);
  });

  test("counts a stream that reports as it goes by the larger of report and count (S2)", () => {
    const meter = chat(false);
    const reported = { prompt_tokens: 9, completion_tokens: 50 };
    meter.push(Buffer.from(`data: ${JSON.stringify({ ...choice({ content: "Hi" }), usage: reported })}\n\n`));
    const metered = meter.metered();
    assert.ok(metered.kind === "counted");
    assert.deepEqual([metered.usage.inputTokens, metered.usage.outputTokens], [9, 50]);
  });

  test("recognises errors inside a stream (S4)", () => {
    const meter = chat(false);
    meter.push(Buffer.from('data: {"error":{"message":"x","type":"server_error","code":"overloaded"}}\n\n'));
    assert.equal(meter.inStreamError(), "overloaded");
    assert.equal(meter.metered().kind, "none");
    const other = responses();
    other.push(
      Buffer.from(
        'event: error\ndata: {"type":"error","code":"server_error","message":"x","sequence_number":2}\n\n',
      ),
    );
    assert.equal(other.inStreamError(), "server_error");
  });
});

describe("anthropic meter", () => {
  const event = (type: string, fields: object) =>
    Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  const start = event("message_start", {
    message: {
      usage: {
        input_tokens: 10,
        cache_creation_input_tokens: 20,
        cache_read_input_tokens: 30,
        output_tokens: 2,
      },
    },
  });
  const delta = (text: string) =>
    event("content_block_delta", { index: 0, delta: { type: "text_delta", text } });

  test("takes the last message_delta and all input, cached or not (S2)", () => {
    const meter = messages();
    for (const bytes of [
      start,
      delta("Hello"),
      event("message_delta", { delta: { stop_reason: null }, usage: { output_tokens: 5 } }),
      event("message_delta", {
        delta: { stop_reason: "end_turn" },
        usage: { input_tokens: 11, output_tokens: 9 },
      }),
      event("message_stop", {}),
    ]) {
      meter.push(bytes);
    }
    assert.deepEqual(meter.metered(), {
      kind: "reported",
      usage: {
        inputTokens: 61,
        cachedInputTokens: 30,
        cacheWriteInputTokens: 20,
        outputTokens: 9,
        reasoningTokens: 0,
      },
    });
  });

  test("counts what was emitted when the stream is cut, with the input that was reported (S2)", () => {
    const meter = messages();
    meter.push(start);
    for (const word of "Sunlight scatters off the molecules of the air, and blue most of all.".split(
      /(?= )/,
    )) {
      meter.push(delta(word));
    }
    // In the middle of the stream already: what a longer hold is priced by.
    assert.equal(meter.inputTokens(), 60);
    const metered = meter.metered();
    assert.ok(metered.kind === "counted");
    assert.equal(metered.usage.inputTokens, 60);
    assert.ok(
      metered.usage.outputTokens >= 14 && metered.usage.outputTokens <= 24,
      `${metered.usage.outputTokens}`,
    );
  });

  test("recognises an overload after the 200 (S4)", () => {
    const meter = messages();
    meter.push(event("error", { error: { type: "overloaded_error", message: "Overloaded" } }));
    assert.equal(meter.inStreamError(), "overloaded_error");
    assert.equal(meter.metered().kind, "none");
    const begun = messages();
    begun.push(start);
    begun.push(delta("Hello there"));
    begun.push(event("error", { error: { type: "overloaded_error", message: "Overloaded" } }));
    begun.finish();
    assert.equal(begun.inStreamError(), "overloaded_error");
    assert.equal(begun.metered().kind, "counted");
  });
});

for (const [what, endpoint, part] of [
  ["chat completions", "chat_completions", (text: string) => ({ delta: { content: text } })],
  ["legacy completions", "completions", (text: string) => ({ text })],
] as const) {
  test(`meter counts every choice of a chunk in a cut stream of ${what} (S2)`, () => {
    const counted = (choices: number) => {
      const meter = openaiFormat.meter(called(endpoint, false), 200, SSE);
      for (let i = 0; i < 50; i++) {
        // In the order in which the providers write it.
        const all = Array.from({ length: choices }, (_, index) => ({
          ...part(` word ${i}`),
          index,
          finish_reason: null,
        }));
        meter.push(Buffer.from(`${chunk({ choices: all })}\n\n`));
      }
      const metered = meter.metered();
      assert.equal(metered.kind, "counted");
      return metered.kind === "counted" ? metered.usage.outputTokens : 0;
    };
    const one = counted(1);
    assert.ok(one >= 100, `${one}`);
    assert.ok(counted(3) >= 2.8 * one, `${counted(3)} of 3 × ${one}`);
  });
}
