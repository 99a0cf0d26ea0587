import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { settledUse } from "../support/limits-page.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

const KEY = "key-of-carol";
const chat = { model: "gpt-4o-mini", max_tokens: 50, messages: [{ role: "user", content: "hello" }] };
const message = {
  model: "claude-sonnet-4-5",
  max_tokens: 50,
  messages: [{ role: "user", content: "hello" }],
};

describe("a provider that speaks both formats", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: PLANS_AND_KEYS });
  });
  after(() => under.close());

  const post = (path: string, body: object, key = KEY) =>
    rawCall(under.url, {
      path,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  for (const [path, body] of [
    ["/anthropic/v1/chat/completions", chat],
    ["/anthropic/v1/chat/completions", { ...chat, stream: true }],
    ["/openai/v1/messages", message],
    ["/openai/v1/messages", { ...message, stream: true }],
  ] as const) {
    const how = "stream" in body ? "streamed" : "plain";
    test(`forwardCall meters a ${how} call to ${path} by the format of its path (L7)`, async () => {
      const before = await settledUse(under.url, KEY);
      const { inputTokens, outputTokens } = under.provider.stats;
      const answer = await post(path, body);
      assert.equal(answer.status, 200, answer.body.toString());
      const now = await settledUse(under.url, KEY);
      const provider = under.provider.stats;
      assert.ok(provider.outputTokens > outputTokens);
      assert.equal(now.input_tokens - before.input_tokens, provider.inputTokens - inputTokens);
      assert.equal(now.output_tokens - before.output_tokens, provider.outputTokens - outputTokens);
    });
  }

  test("forwardCall refuses in the format of the path, with its headers (L4)", async () => {
    const tooLong = [{ role: "user", content: "hello ".repeat(5_000) }];
    const [first, second] = [
      await post("/anthropic/v1/chat/completions", { ...chat, messages: tooLong }, "key-of-alice"),
      await post("/openai/v1/messages", { ...message, messages: tooLong }, "key-of-alice"),
    ];
    assert.deepEqual([first.status, second.status], [429, 429]);
    assert.equal(first.headers["x-ratelimit-limit-tokens"], "1000");
    assert.equal(second.headers["anthropic-ratelimit-tokens-limit"], "1000");
    assert.equal(JSON.parse(second.body.toString()).type, "error");
  });

  test("passedUnread says once that limits on model tokens do not see a call (E6)", async () => {
    for (let i = 0; i < 3; i++) await post("/openai/invocations", chat);
    assert.equal(await under.metric('sluice_calls_unread_total{path="other"}'), 3);
    assert.equal(under.lines.filter((line) => line.includes("passed on unread")).length, 1);
  });
});
