import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { errorLines, limitsPage } from "../support/limits-page.ts";
import { onRequests, type RawServer, startRawServer } from "../support/raw-server.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const YAML = (origin: string) => `
providers:
  openai: { base_url: "${origin}", accounts: [{ name: main, key: k }] }
  anthropic: { base_url: "${origin}", accounts: [{ name: main, key: k }] }
prices: [{ model: "*", input: 1, output: 1 }]
plans:
  p:
    when_limited: reject
    limits:
      - { meter: tokens, limit: 1000000, per: day }
      - { meter: cost, limit: 10, per: day }
identity: { keys: [{ key: key-of-alice, user: alice }] }
`;

const TEXT = "Sunlight is scattered by the air.";
const json = (value: unknown) => JSON.stringify(value);
const events = (...list: readonly (readonly [name: string, data: string])[]) =>
  list.map(([name, data]) => `${name === "" ? "" : `event: ${name}\n`}data: ${data}\n\n`).join("");

/** How each endpoint answers with a usage of this text, or without any. */
const ANSWERS: readonly (readonly [
  path: string,
  stream: boolean,
  answer: (usage: string | undefined) => string,
])[] = [
  [
    "/v1/chat/completions",
    false,
    (usage) =>
      `{"choices":[{"message":{"role":"assistant","content":${json(TEXT)}}}]${usage === undefined ? "" : `,"usage":${usage}`}}`,
  ],
  [
    "/v1/chat/completions",
    true,
    (usage) =>
      events(
        ["", json({ choices: [{ index: 0, delta: { content: TEXT } }] })],
        ["", json({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })],
        ...(usage === undefined ? [] : [["", `{"choices":[],"usage":${usage}}`] as const]),
        ["", "[DONE]"],
      ),
  ],
  [
    "/v1/responses",
    true,
    (usage) =>
      events(
        ["response.output_text.delta", json({ type: "response.output_text.delta", delta: TEXT })],
        ["response.completed", `{"type":"response.completed","response":{"usage":${usage ?? "null"}}}`],
      ),
  ],
  [
    "/v1/messages",
    false,
    (usage) =>
      `{"type":"message","content":[{"type":"text","text":${json(TEXT)}}],"usage":${usage ?? "null"}}`,
  ],
  [
    "/v1/messages",
    true,
    (usage) =>
      events(
        ["message_start", `{"type":"message_start","message":{"usage":${usage ?? "null"}}}`],
        [
          "content_block_delta",
          json({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: TEXT } }),
        ],
        [
          "message_delta",
          `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":${usage ?? "null"}}`,
        ],
        ["message_stop", '{"type":"message_stop"}'],
      ),
  ],
];

const ABSURD = ["-5", "NaN", "1e12", "1e400", '"12"', "1.5", "{}", "[]", "true"];

describe("a provider whose usage cannot be true, or is missing", () => {
  let provider: RawServer;
  let under: GatewayUnderTest;
  let answer = "";
  let finish: (() => void) | undefined;
  let isDeferred = false;
  before(async () => {
    provider = await startRawServer((socket) =>
      onRequests(socket, (head) => {
        const type = answer.startsWith("{") ? "application/json" : "text/event-stream";
        const bytes = Buffer.from(answer);
        const send = () =>
          socket.write(
            `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${bytes.length}\r\n\r\n${bytes}`,
          );
        assert.ok(head.startsWith("POST"));
        if (isDeferred) finish = send;
        else send();
      }),
    );
    under = await startGatewayUnderTest({ yaml: YAML(provider.origin) });
  });
  after(async () => {
    await under.close();
    await provider.close();
  });

  const call = (path: string, stream: boolean) =>
    rawCall(under.url, {
      path,
      headers: { authorization: "Bearer key-of-alice", "content-type": "application/json" },
      body: json({
        model: "some-model",
        stream,
        // Nothing of it is taken out of the answer again.
        ...(stream && path.endsWith("completions") ? { stream_options: { include_usage: true } } : {}),
        max_tokens: 100,
        ...(path.endsWith("responses")
          ? { input: "why blue?" }
          : { messages: [{ role: "user", content: "why blue?" }] }),
      }),
    });
  const books = async () => {
    const [tokens, cost] = await limitsPage(under.url, "key-of-alice");
    return { tokens: tokens.used, nanoUsd: Math.round(cost.used * 1e9), held: tokens.held };
  };
  /** What the next call holds: what was learned. */
  const nextHold = async (path: string) => {
    isDeferred = true;
    const sent = call(path, false);
    await until(async () => finish !== undefined);
    const { held } = await books();
    isDeferred = false;
    finish?.();
    finish = undefined;
    await sent;
    return held;
  };

  for (const [path, stream, answerWith] of ANSWERS) {
    test(`${path}${stream ? " streamed" : ""}: is settled by the estimate, counted, and not learned from (E1, S2)`, async () => {
      answer = ANSWERS.find((one) => one[0] === path && !one[1])?.[2](undefined) ?? "{}";
      const holdBefore = await nextHold(path);
      const seen: number[] = [];
      const usages = [
        undefined,
        ...ABSURD.flatMap((value) => [
          `{"prompt_tokens":${value},"completion_tokens":${value},"input_tokens":${value},"output_tokens":${value}}`,
          `{"prompt_tokens":10,"completion_tokens":${value},"input_tokens":10,"output_tokens":${value}}`,
        ]),
      ];
      for (const usage of usages) {
        answer = answerWith(usage);
        const [before, missing] = [await books(), await under.metric("sluice_usage_missing_total")];
        const { status, body, headers } = await call(path, stream);
        assert.equal(status, 200);
        assert.equal(body.toString(), answer, "other bytes");
        const now = await books();
        const used = now.tokens - before.tokens;
        assert.ok(used >= 8 && used <= 60, `${usage}: ${used} model tokens`);
        assert.equal(now.nanoUsd - before.nanoUsd, used * 1_000, "at a dollar a million");
        assert.equal(now.held, 0);
        assert.equal((await under.metric("sluice_usage_missing_total")) - missing, 1, `${usage}`);
        assert.equal(headers["x-sluice-cost-usd"], undefined);
        seen.push(used);
      }
      assert.ok(Math.max(...seen) - Math.min(...seen) <= 12, seen.join(", "));
      answer = ANSWERS.find((one) => one[0] === path && !one[1])?.[2](undefined) ?? "{}";
      assert.equal(await nextHold(path), holdBefore);
      assert.deepEqual(errorLines(under), []);
    });
  }

  test("a usage far from its body is charged as the provider says, flagged, and not learned from (E1)", async () => {
    const [path, stream, answerWith] = ANSWERS[0];
    for (let i = 0; i < 30; i++) {
      answer = answerWith('{"prompt_tokens":12,"completion_tokens":8}');
      await call(path, stream);
    }
    const holdBefore = await nextHold(path);
    const flagged = await under.metric("sluice_usage_implausible_total");
    answer = answerWith('{"prompt_tokens":200000,"completion_tokens":8}');
    const before = await books();
    await call(path, stream);
    assert.equal((await books()).tokens - before.tokens, 200_008);
    assert.equal((await under.metric("sluice_usage_implausible_total")) - flagged, 1);
    answer = answerWith('{"prompt_tokens":12,"completion_tokens":8}');
    assert.ok(Math.abs((await nextHold(path)) - holdBefore) <= 2);
  });
});
