import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OperationalError } from "../../src/core/operational-error.ts";
import type { Endpoint, ParsedCall, ProviderFormat } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

const KNOWN: readonly (readonly [ProviderFormat, Endpoint])[] = [
  [openaiFormat, "chat_completions"],
  [openaiFormat, "responses"],
  [openaiFormat, "embeddings"],
  [openaiFormat, "completions"],
  [anthropicFormat, "messages"],
];
const MODELS: Readonly<Record<string, string>> = { openai: "gpt-4o", anthropic: "claude-opus-4-8" };

/** Bodies are as large as the gateway takes by default. */
const BYTES = 10_000_000;
/** No token has more bytes than this in any tokenizer's long runs, and no byte more tokens than two. */
const BYTES_PER_TOKEN_MAX = 64;

/** Very many pieces take the parser longer than long ones. */
const PIECES_BYTES = 500_000;
/** Each has up to five values, and a body may have 500,000. */
const PIECES_MAX = 90_000;

/** The same hostile thing wherever a format may carry it. */
const bodyOf =
  (thing: unknown) =>
  (endpoint: Endpoint): object => {
    switch (endpoint) {
      case "responses":
      case "embeddings":
        return { input: thing };
      case "completions":
        return { prompt: thing };
      default:
        return { messages: [{ role: "user", content: thing }] };
    }
  };

function timed<T>(work: () => T): { readonly result: T; readonly ms: number } {
  const startMs = performance.now();
  const result = work();
  return { result, ms: performance.now() - startMs };
}

/** Others use the machine: what is too slow is tried again. */
const TURNS_MAX = 12;

/** Parses a body at every endpoint: in bounded time, to a finite estimate, with the bytes as they are. */
function parseEverywhere(name: string, bodyAt: (endpoint: Endpoint) => object): readonly ParsedCall[] {
  return KNOWN.map(([format, endpoint]) => {
    const bytes = Buffer.from(JSON.stringify({ model: MODELS[format.name], ...bodyAt(endpoint) }));
    const before = Buffer.from(bytes);
    const what = `${name} at ${endpoint}`;
    const times: string[] = [];
    let call = format.parseCall(endpoint, bytes);
    for (;;) {
      const parsed = timed(() => format.parseCall(endpoint, bytes));
      const json = timed(() => JSON.parse(bytes.toString()));
      call = parsed.result;
      // No dearer than the parser, which is part of it, and what a garbage collection costs.
      if (parsed.ms <= 3 * json.ms + 30) break;
      times.push(`${parsed.ms} ms (JSON.parse ${json.ms} ms)`);
      assert.ok(times.length < TURNS_MAX, `${what}: ${times.join(", ")}`);
    }
    assert.ok(Number.isSafeInteger(call.estimate.inputTokens) && call.estimate.inputTokens >= 0, what);
    assert.ok(call.upstreamBody.equals(before), what);
    return call;
  });
}

describe("hostile bodies", () => {
  test("megabytes of one character are estimated at once, within what a tokenizer can make of them (E4)", () => {
    // Classes of characters differ in time by nothing: two of them at full length.
    for (const unit of [
      "a",
      "A",
      "0",
      " ",
      "\n",
      "!",
      "é",
      "你",
      "\ud800",
      "\udc00",
      "😀",
      "\u0000",
      "\uffff",
    ]) {
      const bytes = unit === "a" || unit === "\ud800" ? BYTES : BYTES / 10;
      const text = unit.repeat(bytes / Buffer.byteLength(unit));
      for (const call of parseEverywhere(JSON.stringify(unit), bodyOf(text))) {
        const { inputTokens } = call.estimate;
        const what = `${JSON.stringify(unit)} at ${call.endpoint}: ${inputTokens}`;
        assert.ok(inputTokens <= 2 * bytes && inputTokens >= bytes / BYTES_PER_TOKEN_MAX, what);
      }
    }
  });

  test("very many small pieces are estimated at once (E4)", () => {
    const many = <Piece>(piece: Piece): Piece[] =>
      Array.from(
        { length: Math.min(PIECES_MAX, Math.floor(PIECES_BYTES / JSON.stringify(piece).length)) },
        () => piece,
      );
    const pieces = {
      texts: bodyOf(many("")),
      parts: bodyOf(many({ type: "text", text: "a" })),
      messages: () => ({
        messages: many({ role: "user", content: "a" }),
        input: many({ role: "user", content: "a" }),
      }),
      numbers: bodyOf(many(7)),
      "model tokens": bodyOf(many([7, 7])),
      tools: () => ({ tools: many({ name: "f", function: { name: "f" }, input_schema: {} }) }),
      choices: () => ({
        tools: [
          { name: "f", parameters: { enum: many("a") }, input_schema: { enum: many("a") } },
          { function: { name: "f", parameters: { enum: many("a") } } },
        ],
      }),
      keys: bodyOf([Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`k${index}`, index]))]),
    };
    for (const [name, body] of Object.entries(pieces)) parseEverywhere(name, body);
  });

  test("content parts in content parts are estimated to the allowed depth, and refused below it (X3)", () => {
    const nested = (depth: number): unknown => {
      let inner: unknown = "text";
      for (let level = 0; level < depth; level++) {
        inner = [
          {
            type: level % 2 === 0 ? "tool_result" : "document",
            content: inner,
            source: { type: "content", content: inner },
          },
        ];
        // Twice the same inside: without a bound this doubles at every level.
        if (level > 12) inner = [{ type: "tool_result", content: inner }];
      }
      return inner;
    };
    parseEverywhere("nested 14 levels", bodyOf(nested(14)));
    for (const [format, endpoint] of KNOWN) {
      let deep: unknown = "text";
      for (let level = 0; level < 120; level++) deep = [{ type: "tool_result", content: deep }];
      const body = Buffer.from(JSON.stringify({ model: "m", ...bodyOf(deep)(endpoint) }));
      assert.throws(
        () => format.parseCall(endpoint, body),
        (error) => error instanceof OperationalError && error.code === "invalid_request",
      );
    }
  });

  test("a picture that lies about its size costs what the largest picture costs, and no time (E4)", () => {
    const png = (width: number, height: number) => {
      const bytes = Buffer.alloc(33);
      bytes.write("\x89PNG\r\n\x1a\n", 0, "latin1");
      bytes.write("IHDR", 12, "latin1");
      bytes.writeUInt32BE(width, 16);
      bytes.writeUInt32BE(height, 20);
      return bytes.toString("base64");
    };
    /** Segments that lead nowhere, up to the bound on what is read of a header. */
    const jpeg = Buffer.concat([
      Buffer.from([0xff, 0xd8]),
      Buffer.alloc(200_000, Buffer.from([0xff, 0xe0, 0, 0])),
    ]);
    const lies = {
      "largest side": png(0xffff_ffff, 0xffff_ffff),
      "no width": png(0, 7),
      "one long line": png(65_535, 1),
      huge: png(65_535, 65_535),
      "endless header": jpeg.toString("base64"),
      "no base64": "!".repeat(1_000_000),
      "10 MB": png(1, 1) + "A".repeat(BYTES),
      empty: "",
    };
    for (const [name, data] of Object.entries(lies)) {
      const parts = [
        { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
        { type: "input_image", image_url: `data:image/png;base64,${data}` },
        { type: "image", source: { type: "base64", media_type: "image/png", data } },
      ];
      for (const part of parts) {
        const message = { role: "user", content: [part] };
        for (const call of parseEverywhere(name, () => ({ messages: [message], input: [message] }))) {
          const { inputTokens } = call.estimate;
          assert.ok(inputTokens < 6_000, `${name} ${part.type} at ${call.endpoint}: ${inputTokens}`);
        }
      }
    }
  });

  test("maxima that no provider takes are refused as the provider would, with the field's name (X3)", () => {
    const fields = ["max_tokens", "max_completion_tokens", "max_output_tokens", "n"];
    for (const value of ["1e308", "-1", "0", '"5"', "1.5", "1e400", "true", "[]", "9007199254740993"]) {
      for (const [format, endpoint] of KNOWN) {
        for (const field of format.name === "anthropic" ? ["max_tokens"] : fields) {
          const body = Buffer.from(
            `{"model":"m","${field}":${value},"messages":[],"input":"a","prompt":"a"}`,
          );
          assert.throws(
            () => format.parseCall(endpoint, body),
            (error) =>
              error instanceof OperationalError &&
              error.code === "invalid_request" &&
              error.message.includes(field),
            `${field}: ${value} at ${endpoint}`,
          );
        }
      }
    }
  });
});
