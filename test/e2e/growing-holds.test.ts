import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { limitsPage } from "../support/limits-page.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const LIMIT = 2_000;
const WRITTEN = 4_000;
const plan = (name: string, onExhausted: string, part = "") => `
  ${name}:
    when_limited: reject
    limits:
      - { meter: tokens, limit: ${LIMIT}, per: 1h, on_exhausted: ${onExhausted}${part} }`;

const YAML = `
plans:${plan("cut", "cut")}${plan("on", "continue")}${plan("after", "cut", ", reserve: none")}
identity:
  keys:
    - { key: key-cut-openai, user: cut1, plan: cut }
    - { key: key-cut-responses, user: cut2, plan: cut }
    - { key: key-cut-anthropic, user: cut3, plan: cut }
    - { key: key-of-on, user: on, plan: on }
    - { key: key-of-ann, user: ann, plan: after }
    - { key: key-of-slow, user: slow, plan: on }
`;

const REPLAY = { "x-replay-output-tokens": String(WRITTEN), "x-replay-chunk-interval-ms": "1" };

describe("the gateway with streams that outgrow their hold", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML });
  });
  after(() => under.close());

  const openai = (apiKey: string) => new OpenAI({ apiKey, baseURL: `${under.url}/v1`, maxRetries: 0 });
  const anthropic = (apiKey: string) => new Anthropic({ apiKey, baseURL: under.url, maxRetries: 0 });
  const messages = [{ role: "user" as const, content: "hello" }];
  const settled = async (key: string) => {
    await until(async () => (await limitsPage(under.url, key)).every(({ held }) => held === 0));
    return (await limitsPage(under.url, key))[0]?.used ?? 0;
  };
  const cutAt = (used: number) => assert.ok(used > LIMIT * 0.95 && used < LIMIT * 1.1, `${used} used`);

  test("a limit with on_exhausted: cut ends a chat that uses it up, as an error of the SDK, charged for what was sent (S2, L8)", async () => {
    const stream = await openai("key-cut-openai").chat.completions.create(
      { model: "gpt-4o-mini", messages, stream: true },
      { headers: REPLAY },
    );
    let pieces = 0;
    const failure = await (async () => {
      for await (const _ of stream) pieces += 1;
    })().catch((error: unknown) => error);
    assert.ok(pieces > 100, `${pieces} pieces`);
    assert.ok(failure instanceof OpenAI.APIError, String(failure));
    assert.match(String(failure), /tokens-1h/);
    cutAt(await settled("key-cut-openai"));
  });

  test("a limit with on_exhausted: cut ends a streamed response with the event that its SDK knows", async () => {
    const stream = await openai("key-cut-responses").responses.create(
      { model: "gpt-4o-mini", input: "hello", stream: true },
      { headers: REPLAY },
    );
    const last: unknown[] = [];
    const failure = await (async () => {
      for await (const event of stream) last[0] = event;
    })().catch((error: unknown) => error);
    assert.match(`${String(failure)} ${JSON.stringify(last)}`, /rate_limit_exceeded|tokens-1h/);
    cutAt(await settled("key-cut-responses"));
  });

  test("a limit with on_exhausted: cut ends a stream of messages with the event that its SDK knows", async () => {
    const stream = await anthropic("key-cut-anthropic").messages.create(
      { model: "claude-3-5-haiku-latest", max_tokens: 8_000, messages, stream: true },
      { headers: REPLAY },
    );
    const failure = await (async () => {
      for await (const _ of stream);
    })().catch((error: unknown) => error);
    assert.ok(failure instanceof Anthropic.APIError, String(failure));
    assert.match(String(failure), /tokens-1h/);
    cutAt(await settled("key-cut-anthropic"));
  });

  test("a limit that holds nothing (reserve: none) and cuts ends the stream that uses it up, and not one that stays below (L8)", async () => {
    const write = async (tokens: number) => {
      const stream = await openai("key-of-ann").chat.completions.create(
        { model: "gpt-4o-mini", messages, stream: true },
        { headers: { ...REPLAY, "x-replay-output-tokens": String(tokens) } },
      );
      for await (const _ of stream);
    };
    await write(LIMIT / 8);
    const before = await settled("key-of-ann");
    assert.ok(before > 0 && before < LIMIT / 4, `${before} used`);
    await assert.rejects(write(WRITTEN), /tokens-1h/);
    cutAt(await settled("key-of-ann"));
  });

  test("a limit that says continue lets the stream end, and owes what it used beyond the limit (L8)", async () => {
    const stream = await openai("key-of-on").chat.completions.create(
      { model: "gpt-4o-mini", messages, stream: true, stream_options: { include_usage: true } },
      { headers: { "x-replay-output-tokens": String(WRITTEN) } },
    );
    let total = 0;
    for await (const chunk of stream) total = chunk.usage?.total_tokens ?? total;
    assert.ok(total > LIMIT);
    assert.equal(await settled("key-of-on"), total);
  });
});

test("the hold of a running stream grows with what it has written, so that other calls see it (E5)", async (t) => {
  const under = await startGatewayUnderTest({ yaml: YAML });
  t.after(() => under.close());
  const openai = new OpenAI({ apiKey: "key-of-slow", baseURL: `${under.url}/v1`, maxRetries: 0 });
  const stream = await openai.chat.completions.create(
    { model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }], stream: true, max_tokens: 1_500 },
    { headers: { ...REPLAY, "x-replay-output-tokens": "1500" } },
  );
  const holds = new Set<number>();
  let pieces = 0;
  for await (const _ of stream) {
    pieces += 1;
    if (pieces % 100 === 0) holds.add((await limitsPage(under.url, "key-of-slow"))[0]?.held ?? 0);
  }
  const seen = [...holds].filter((held) => held > 0);
  assert.ok(seen.length >= 3, `held ${seen.join(", ")}`);
  assert.ok(
    seen.every((held, i) => i === 0 || held > (seen[i - 1] ?? 0)),
    `held ${seen.join(", ")}`,
  );
  assert.ok(Math.max(...seen) <= 1_500 + 50, "never more than the input and the call's own maximum");
});
