import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { OperationalError } from "../../src/core/operational-error.ts";
import type { Endpoint, ProviderFormat } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { jsonOverBounds } from "../../src/providers/http/json-bounds.ts";
import { withModel } from "../../src/providers/http/json-splice.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import { runs } from "../support/property.ts";

const KNOWN: readonly (readonly [ProviderFormat, Endpoint])[] = [
  [openaiFormat, "chat_completions"],
  [openaiFormat, "responses"],
  [openaiFormat, "embeddings"],
  [openaiFormat, "completions"],
  [anthropicFormat, "messages"],
  [anthropicFormat, "count_tokens"],
];

const chat = (body: string | Buffer | object) =>
  openaiFormat.parseCall(
    "chat_completions",
    typeof body === "object" && !Buffer.isBuffer(body)
      ? Buffer.from(JSON.stringify(body))
      : Buffer.from(body),
  );

function refusedFor(format: ProviderFormat, endpoint: Endpoint, body: string | Buffer): string {
  try {
    format.parseCall(endpoint, Buffer.from(body));
  } catch (error) {
    assert.ok(error instanceof OperationalError, String(error));
    assert.equal(error.code, "invalid_request");
    return error.message;
  }
  return assert.fail(`accepted ${body.toString().slice(0, 100)}`);
}

/** JSON text with white space anywhere, keys written with escapes, keys that stand twice. */
const key = fc.oneof(
  fc.constantFrom(
    "stream_options",
    "include_usage",
    "\\u0073tream_options",
    "include_usag\\u0065",
    "a",
    "{",
    '\\"b',
    "model2",
  ),
  // `n` must be a number. V8 13.6 takes the key `"` for a `\` that it has seen in its place before, when it stands at a key's end.
  fc
    .string({ maxLength: 6 })
    .filter((text) => text !== "n" && !/["\\]$/.test(text))
    .map((text) => JSON.stringify(text).slice(1, -1)),
);
const space = fc.constantFrom("", " ", "\n\t", "\r\n");
const json = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(
      "null",
      "true",
      "false",
      "0",
      "-1.5e3",
      '"}"',
      '"\\\\"',
      '"\\"include_usage\\":true"',
      "[]",
      "{}",
    ),
    fc.string({ maxLength: 50 }).map((text) => JSON.stringify(text)),
    fc.tuple(space, tie("value")).map(([gap, value]) => `[${gap}${value}${gap},1]`),
    tie("object"),
  ),
  object: fc
    .array(fc.tuple(space, key, space, tie("value")), { maxLength: 4 })
    .map(
      (members) =>
        `{${members.map(([one, name, two, value]) => `${one}"${name}"${two}:${one}${value}${two}`).join(",")}}`,
    ),
}));
const optionsMember = fc.tuple(
  fc.constantFrom('"stream_options"', '"stream\\u005foptions"'),
  fc.oneof(
    fc.constantFrom(
      "null",
      "{}",
      "{ }",
      '{"include_usage":false}',
      '{"include_usage":true}',
      '{"include_usage":null }',
    ),
    fc.constantFrom(
      '{"include_usage":true,"include_usage" : false}',
      '"on"',
      "7",
      '{"include_usage":"yes"}',
      "[]",
    ),
    json.object,
  ),
);
const streamedBody = fc
  .tuple(space, fc.array(json.object, { maxLength: 2 }), fc.array(optionsMember, { maxLength: 2 }), space)
  .map(([gap, objects, options, end]) => {
    const members = [
      '"model":"gpt-4o"',
      ...objects.flatMap((object) => (object.slice(1, -1).trim() === "" ? [] : [object.slice(1, -1)])),
      ...options.map(([name, value]) => `${gap}${name}${end}:${gap}${value}`),
      `"stream" :${gap}true`,
      '"model":"gpt-4o"',
    ];
    return `${gap}{${members.join(`${end},`)}${end}}${gap}`;
  });

describe("parseCall", () => {
  test("splices include_usage so that the body parses to what it was plus that key (S1)", () => {
    let spliced = 0;
    fc.assert(
      fc.property(streamedBody, (text) => {
        const before = JSON.parse(text);
        const call = chat(text);
        const after = JSON.parse(call.upstreamBody.toString());
        const options = before.stream_options;
        const canBe =
          options === undefined ||
          options === null ||
          (typeof options === "object" && !Array.isArray(options));
        const wanted = options?.include_usage;
        if (!canBe || (wanted !== undefined && wanted !== null && wanted !== false)) {
          assert.equal(call.usageSpliced, false);
          assert.equal(call.upstreamBody.toString(), text);
          return;
        }
        assert.equal(call.usageSpliced, true);
        assert.deepEqual(after, { ...before, stream_options: { ...options, include_usage: true } });
        spliced++;
      }),
      runs(3000),
    );
    assert.ok(spliced > 100, `${spliced}`);
  });

  test("leaves the client's bytes outside the splice as they are (S1)", () => {
    const body = '{ "model" : "gpt-4o", "stream":true ,"user":"\\u00e9\xff" }';
    const call = chat(Buffer.from(body, "latin1"));
    assert.equal(
      call.upstreamBody.toString("latin1"),
      body.replace("{", '{"stream_options":{"include_usage":true},'),
    );
  });

  test("splices streamed chat and legacy completions only (S1)", () => {
    for (const [format, endpoint] of KNOWN) {
      const body = Buffer.from('{"model":"m","stream":true}');
      const call = format.parseCall(endpoint, body);
      assert.equal(
        call.usageSpliced,
        endpoint === "chat_completions" || endpoint === "completions",
        endpoint,
      );
      if (!call.usageSpliced) assert.equal(call.upstreamBody, body);
    }
    assert.equal(chat({ model: "m" }).usageSpliced, false);
  });

  test("replaces a model and nothing else (S1)", () => {
    fc.assert(
      fc.property(streamedBody, fc.string(), (text, model) => {
        const after = JSON.parse(withModel(Buffer.from(text), model).toString());
        assert.deepEqual(after, { ...JSON.parse(text), model });
      }),
      runs(500),
    );
  });

  test("refuses what a provider would refuse, and names the field (X3)", () => {
    for (const [format, endpoint] of KNOWN) {
      for (const body of ["", "{", "null", "[]", '"x"', "1", '{"model":"m"}x', "\ufeff{}"]) {
        refusedFor(format, endpoint, body);
      }
      for (const model of ['""', "null", "7", "[]", JSON.stringify("m".repeat(257))]) {
        assert.match(refusedFor(format, endpoint, `{"model":${model}}`), /model/);
      }
      assert.match(refusedFor(format, endpoint, "{}"), /model/);
      assert.match(refusedFor(format, endpoint, '{"model":"m","stream":"yes"}'), /stream/);
    }
    for (const value of ["0", "-1", "1.5", "1e308", '"7"', "[]", "true", "{}"]) {
      for (const field of ["max_tokens", "max_completion_tokens", "max_output_tokens", "n"]) {
        const message = refusedFor(openaiFormat, "chat_completions", `{"model":"m","${field}":${value}}`);
        assert.ok(message.includes(`'${field}'`), message);
      }
      const message = refusedFor(anthropicFormat, "messages", `{"model":"m","max_tokens":${value}}`);
      assert.ok(message.startsWith("max_tokens: "), message);
    }
  });

  test("takes null for absent, the larger of two maxima, and multiplies by the answers asked for (E5)", () => {
    const max = (fields: object) => chat({ model: "m", ...fields }).estimate.outputTokensMax;
    assert.equal(max({ max_tokens: null, n: null, stream: null }), undefined);
    assert.equal(max({ max_tokens: 10, max_completion_tokens: 7 }), 10);
    assert.equal(max({ max_completion_tokens: 7, n: 3 }), 21);
    // Another endpoint's name bounds nothing: no host obeys it.
    assert.equal(max({ max_output_tokens: 1 }), undefined);
    assert.equal(max({ max_output_tokens: 9, max_tokens: 3 }), 3);
    const other = (endpoint: "completions" | "responses", fields: object) =>
      openaiFormat.parseCall(endpoint, Buffer.from(JSON.stringify({ model: "m", ...fields }))).estimate
        .outputTokensMax;
    assert.equal(other("responses", { input: "a", max_output_tokens: 5, max_tokens: 1 }), 5);
    assert.equal(other("responses", { input: "a", max_tokens: 1 }), undefined);
    assert.equal(other("completions", { prompt: "a", max_tokens: 5, max_completion_tokens: 1 }), 5);
    assert.equal(max({ max_tokens: Number.MAX_SAFE_INTEGER, n: 9 }), Number.MAX_SAFE_INTEGER);
    const legacy = openaiFormat.parseCall(
      "completions",
      Buffer.from('{"model":"m","prompt":["a","b"],"max_tokens":5,"best_of":4,"n":2}'),
    );
    assert.equal(legacy.estimate.outputTokensMax, 40);
    assert.equal(legacy.estimate.answers, 8);
    assert.equal(chat({ model: "m", reasoning_effort: "high" }).estimate.effort, "high");
    const embeddings = openaiFormat.parseCall("embeddings", Buffer.from('{"model":"m","input":[1,2,3]}'));
    assert.deepEqual(embeddings.estimate, {
      inputTokens: 3,
      inputShape: "embeddings/text",
      outputTokensMax: 0,
      answers: 1,
      serviceTier: undefined,
      effort: undefined,
    });
  });

  test("bounds nesting before anything is parsed (X3)", () => {
    const nested = (depth: number) => `{"model":"m","x":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    chat(nested(199));
    assert.match(refusedFor(openaiFormat, "chat_completions", nested(200)), /nests deeper/);
    assert.match(refusedFor(anthropicFormat, "messages", `{"a":`.repeat(3_000_000)), /nests deeper/);
    chat({ model: "m", user: '["'.repeat(5000) });
  });

  test("bounds the number of values before anything is parsed (X3)", () => {
    const list = (count: number, value: string) =>
      `{"model":"m","x":[${Array(count).fill(value).join(",")}]}`;
    chat(list(499_999, "[]"));
    for (const value of ["[]", "{}", "1", '"a"']) {
      assert.match(
        refusedFor(openaiFormat, "chat_completions", list(500_000, value)),
        /more than 500000 values/,
      );
    }
    assert.match(
      refusedFor(anthropicFormat, "messages", `[${"[],".repeat(10_000_000)}`),
      /more than 500000 values/,
    );
    chat({ model: "m", user: ",".repeat(1_000_000) });
  });

  test("judges nesting as a parser does (X3)", () => {
    const depthOf = (value: unknown): number =>
      typeof value === "object" && value !== null
        ? 1 + Math.max(0, ...Object.values(value).map((inner) => depthOf(inner)))
        : 0;
    const withoutTwins = json.object.filter((text) => JSON.stringify(JSON.parse(text)).length > 0);
    fc.assert(
      fc.property(withoutTwins, fc.integer({ min: 0, max: 6 }), (text, limit) => {
        // A key that stands twice loses its first value, which may have been the deeper one.
        const isDeeper = jsonOverBounds(Buffer.from(text), { depthMax: limit, valuesMax: 1e9 }) !== undefined;
        if (depthOf(JSON.parse(text)) > limit) assert.ok(isDeeper);
        if (!isDeeper) assert.ok(depthOf(JSON.parse(text)) <= limit);
        const texts = JSON.stringify({ text: text.repeat(3) });
        assert.equal(jsonOverBounds(Buffer.from(texts), { depthMax: 1, valuesMax: 1 }), undefined);
      }),
      runs(1000),
    );
  });

  test("answers any bytes with a call or invalid_request (X3)", () => {
    const fields = [
      "messages",
      "input",
      "prompt",
      "system",
      "tools",
      "functions",
      "response_format",
      "text",
      "stream_options",
    ];
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .dictionary(fc.constantFrom(...fields), fc.jsonValue())
        .map((body) => Buffer.from(JSON.stringify({ model: "m", stream: true, ...body }))),
      fc
        .tuple(
          fc.constantFrom("messages", "input"),
          fc.constantFrom("content", "tool_calls", "output"),
          fc.constantFrom("text", "image", "image_url", "document", "tool_result", "file"),
          fc.jsonValue(),
        )
        .map(([list, member, type, value]) =>
          Buffer.from(
            JSON.stringify({
              model: "m",
              [list]: [
                { role: "user", type, [member]: value },
                { content: [{ type, [type]: value, source: value }] },
              ],
            }),
          ),
        ),
    );
    fc.assert(
      fc.property(hostile, fc.constantFrom(...KNOWN), (body, [format, endpoint]) => {
        try {
          const { estimate } = format.parseCall(endpoint, body);
          assert.ok(Number.isSafeInteger(estimate.inputTokens) && estimate.inputTokens >= 0);
        } catch (error) {
          assert.ok(error instanceof OperationalError && error.code === "invalid_request", String(error));
        }
      }),
      runs(2000),
    );
  });

  test("does not read bodies of paths it does not know (S1)", () => {
    const body = Buffer.from([0xff, 0x00, 0x7b]);
    for (const format of [openaiFormat, anthropicFormat]) {
      const call = format.parseCall("other", body);
      assert.equal(call.upstreamBody, body);
      assert.equal(call.estimate.inputTokens, 0);
      assert.equal(format.meter(call, 200, "application/json").metered().kind, "none");
    }
  });
});

test("endpointOf knows the paths of its provider and passes all others (S1)", () => {
  const seen = (format: ProviderFormat, line: string) => {
    const [method, path] = line.split(" ") as [string, string];
    return format.endpointOf(method, path);
  };
  for (const [line, expected] of [
    ["POST /v1/chat/completions", "chat_completions"],
    ["POST /v1/responses", "responses"],
    ["POST /v1/embeddings", "embeddings"],
    ["POST /v1/completions", "completions"],
    ["GET /v1/models", "models"],
    ["GET /v1/models/gpt-4o", "models"],
    ["GET /v1/chat/completions", "other"],
    ["POST /v1/chat/completions/", "other"],
    ["POST /openai/deployments/x/chat/completions", "other"],
    ["POST /v1/messages", "other"],
    ["GET /v1/modelsx", "other"],
    ["POST /__proto__", "other"],
  ] as const) {
    assert.equal(seen(openaiFormat, line), expected, line);
  }
  for (const [line, expected] of [
    ["POST /v1/messages", "messages"],
    ["POST /v1/messages/count_tokens", "count_tokens"],
    ["GET /v1/models", "models"],
    ["POST /v1/messages/batches", "other"],
    // OpenAI's, on a host that speaks both.
    ["POST /v1/threads/thread_1/messages", "other"],
    ["POST /v1/chat/completions", "other"],
  ] as const) {
    assert.equal(seen(anthropicFormat, line), expected, line);
  }
});
