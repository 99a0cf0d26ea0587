import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

interface LimitsPage {
  readonly user: string;
  readonly plan: string;
  readonly limits: readonly {
    readonly name: string;
    readonly meter: string;
    readonly used: number;
    readonly held: number;
    readonly remaining: number;
    readonly limit: number;
  }[];
}

describe("the gateway with the official SDKs", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: `${PLANS_AND_KEYS}\naliases: { fast: gpt-4o-mini }\n` });
  });
  after(() => under.close());

  const openai = (apiKey: string, maxRetries = 0) =>
    new OpenAI({ apiKey, baseURL: `${under.url}/v1`, maxRetries });
  const anthropic = (apiKey: string) => new Anthropic({ apiKey, baseURL: under.url, maxRetries: 0 });
  const limits = async (key: string): Promise<LimitsPage> => {
    const answer = await fetch(`${under.url}/sluice/v1/limits`, {
      headers: { authorization: `Bearer ${key}` },
    });
    return (await answer.json()) as LimitsPage;
  };
  const used = async (key: string, meter: string) => {
    const found = (await limits(key)).limits.find((limit) => limit.meter === meter);
    assert.equal(found?.held, 0, "nothing is held once a call is over");
    return found?.used ?? 0;
  };
  const chat = (content: string) => ({
    model: "gpt-4o-mini",
    messages: [{ role: "user" as const, content }],
    max_tokens: 20,
  });

  test("a free user's eleventh request in a minute is refused, a premium user's goes through, the numbers add up", async () => {
    let tokens = 0;
    for (let i = 0; i < 10; i++) {
      const { data, response } = await openai("key-of-alice")
        .chat.completions.create(chat("hi"))
        .withResponse();
      tokens += data.usage?.total_tokens ?? 0;
      assert.equal(response.headers.get("x-ratelimit-limit-requests"), "10");
      assert.equal(response.headers.get("x-ratelimit-remaining-requests"), String(9 - i));
    }
    const refused = await openai("key-of-alice")
      .chat.completions.create(chat("hi"))
      .catch((error: unknown) => error);
    assert.ok(refused instanceof OpenAI.RateLimitError, String(refused));
    assert.equal(refused.code, "rate_limit_exceeded");
    assert.match(refused.message, /"requests-1m" of 10 requests per 1m, 0 left, 1 requested/);
    assert.ok(Number(refused.headers.get("retry-after")) <= 60);
    assert.ok(Number(refused.headers.get("retry-after-ms")) > 0);
    const page = await limits("key-of-alice");
    assert.deepEqual([page.user, page.plan], ["alice", "free"]);
    assert.deepEqual(
      page.limits.map(({ name, used, held, remaining }) => [name, used, held, remaining]),
      [
        ["requests-1m", 10, 0, 0],
        ["requests-1h", 10, 0, 90],
        ["tokens-1m", tokens, 0, 1_000 - tokens],
      ],
    );
    await openai("key-of-bob").chat.completions.create(chat("hi"));
  });

  test("streams arrive as the provider sends them, without the chunk that was asked for behind the client's back (S1)", async () => {
    const before = await used("key-of-carol", "tokens");
    const stream = await openai("key-of-carol").chat.completions.create({ ...chat("tell me"), stream: true });
    let text = "";
    for await (const chunk of stream) {
      assert.ok(chunk.choices.length > 0, "no chunk without choices");
      text += chunk.choices[0].delta.content ?? "";
    }
    assert.ok(text.length > 0);
    assert.ok((await used("key-of-carol", "tokens")) > before);
  });

  test("a client that asks for usage in its stream gets it", async () => {
    const before = await used("key-of-carol", "tokens");
    const stream = await openai("key-of-carol").chat.completions.create({
      ...chat("tell me more"),
      stream: true,
      stream_options: { include_usage: true },
    });
    let total = 0;
    for await (const chunk of stream) total = chunk.usage?.total_tokens ?? total;
    assert.ok(total > 0);
    assert.equal(await used("key-of-carol", "tokens"), before + total);
  });

  test("every OpenAI endpoint is metered by its own usage", async () => {
    const client = openai("key-of-carol");
    let expected = await used("key-of-carol", "tokens");
    const responses = await client.responses.create({
      model: "gpt-4o-mini",
      input: "hello",
      max_output_tokens: 30,
    });
    expected += responses.usage?.total_tokens ?? 0;
    const embeddings = await client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
    expected += embeddings.usage.total_tokens;
    const completions = await client.completions.create({
      model: "gpt-3.5-turbo-instruct",
      prompt: "once",
      max_tokens: 9,
    });
    expected += completions.usage?.total_tokens ?? 0;
    assert.equal(await used("key-of-carol", "tokens"), expected);
    const streamed = await client.responses.create({ model: "gpt-4o-mini", input: "hello", stream: true });
    for await (const event of streamed)
      if (event.type === "response.completed") expected += event.response.usage?.total_tokens ?? 0;
    assert.equal(await used("key-of-carol", "tokens"), expected);
    const models = await client.models.list();
    assert.ok(models.data.length > 0);
  });

  test("Anthropic's messages work plain and streamed, with its own headers and errors", async () => {
    const client = anthropic("key-of-carol");
    const request = {
      model: "claude-sonnet-5",
      max_tokens: 40,
      messages: [{ role: "user" as const, content: "hello" }],
    };
    let expected = await used("key-of-carol", "tokens");
    const { data, response } = await client.messages.create(request).withResponse();
    expected += data.usage.input_tokens + data.usage.output_tokens;
    assert.ok(response.headers.get("anthropic-ratelimit-requests-limit"));
    assert.ok(!Number.isNaN(Date.parse(response.headers.get("anthropic-ratelimit-requests-reset") ?? "")));
    const message = await client.messages.stream(request).finalMessage();
    expected += message.usage.input_tokens + message.usage.output_tokens;
    assert.equal(await used("key-of-carol", "tokens"), expected);
    assert.ok(
      (await client.messages.countTokens({ model: request.model, messages: request.messages })).input_tokens >
        0,
    );
    const refused = await anthropic("key-of-alice")
      .messages.create(request)
      .catch((error: unknown) => error);
    assert.ok(refused instanceof Anthropic.RateLimitError, String(refused));
    const unknown = await anthropic("no-such-key")
      .messages.create(request)
      .catch((error: unknown) => error);
    assert.ok(unknown instanceof Anthropic.AuthenticationError, String(unknown));
  });

  test("a call that never fits is refused once: SDKs do not retry it (L4)", async () => {
    const seen = under.provider.stats.requests;
    const refused = await openai("key-of-bob", 3)
      .chat.completions.create({ ...chat("word ".repeat(30_000)) })
      .catch((error: unknown) => error);
    assert.ok(refused instanceof OpenAI.RateLimitError);
    assert.equal(refused.code, "request_too_large_for_limit");
    assert.equal(refused.headers.get("x-should-retry"), "false");
    assert.equal(under.provider.stats.requests, seen);
  });

  test("a model's alias is replaced, and nothing else of the body (S1)", async () => {
    const body = '{ "messages": [{"role":"user","content":"model"}],\t"model" : "fast", "max_tokens":5 }';
    await fetch(`${under.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer key-of-carol", "content-type": "application/json" },
      body,
    });
    const sent = under.provider.requests.at(-1)?.body;
    assert.equal(String(sent), body.replace('"fast"', '"gpt-4o-mini"'));
  });

  test("tool calls go through and are metered", async () => {
    const before = await used("key-of-carol", "tokens");
    const { usage } = await openai("key-of-carol").chat.completions.create({
      ...chat("what is the weather in Vienna?"),
      tools: [
        {
          type: "function",
          function: {
            name: "weather",
            parameters: { type: "object", properties: { city: { type: "string" } } },
          },
        },
      ],
    });
    assert.equal(await used("key-of-carol", "tokens"), before + (usage?.total_tokens ?? 0));
  });

  test("a provider's own errors reach the client as they are, and count as requests only", async () => {
    const [requests, tokens] = [await used("key-of-carol", "requests"), await used("key-of-carol", "tokens")];
    under.provider.switches.set({ failStatus: 500 });
    const failed = await openai("key-of-carol")
      .chat.completions.create(chat("hi"))
      .catch((error: unknown) => error);
    under.provider.switches.reset();
    assert.ok(failed instanceof OpenAI.InternalServerError, String(failed));
    assert.equal(await used("key-of-carol", "requests"), requests + 1);
    assert.equal(await used("key-of-carol", "tokens"), tokens);
  });

  test("the provider never sees the client's key, nor the client the provider's (X1)", async () => {
    await openai("key-of-carol").chat.completions.create(chat("secret"));
    const log = JSON.stringify(under.provider.requests);
    assert.ok(!log.includes("key-of-"));
    assert.ok(log.includes("provider-secret-openai"));
    assert.ok(!under.lines.join("").includes("secret"));
  });
});
