import assert from "node:assert/strict";
import { after, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { eventsOf } from "../../src/replay-provider/chunking.ts";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { allRecordings } from "../support/recordings.ts";

const recordings = allRecordings();
const provider = await startReplayProvider({ recordings });
after(() => provider.close());
const openai = new OpenAI({ baseURL: `${provider.url}/v1`, apiKey: "test", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: provider.url, apiKey: "test", maxRetries: 0 });

const messages = [{ role: "user" as const, content: "How many gates does the mill have?" }];
/** `Array.fromAsync`, which the language level of the project does not have yet. */
async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const wordsOf = (text: string) => text.split(" ").length;

test("the OpenAI SDK reads synthesised chats, plain and streamed, with usage only where asked", async () => {
  const body = { model: "gpt-4o", messages, max_completion_tokens: 9 };
  const plain = await openai.chat.completions.create(body);
  const text = plain.choices[0]!.message.content!;
  assert.equal(plain.usage!.completion_tokens, 9);
  assert.equal(wordsOf(text), 9);
  assert.equal(plain.choices[0]!.finish_reason, "length");
  assert.equal((await openai.chat.completions.create(body)).choices[0]!.message.content, text);

  for (const asked of [true, false]) {
    const stream = await openai.chat.completions.create({
      ...body,
      n: 2,
      stream: true,
      ...(asked ? { stream_options: { include_usage: true } } : {}),
    });
    const chunks = await collect(stream);
    const last = chunks.at(-1)!;
    if (asked) {
      assert.deepEqual(last.choices, []);
      assert.equal(last.usage!.completion_tokens, 18);
      assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
    } else assert.ok(chunks.every((chunk) => !("usage" in chunk) && chunk.choices.length === 1));
    const first = chunks.map(({ choices }) =>
      choices[0]?.index === 0 ? (choices[0].delta.content ?? "") : "",
    );
    assert.equal(wordsOf(first.join("")), 9);
  }
});

test("the OpenAI SDK reads synthesised responses, embeddings, completions and models", async () => {
  const body = { model: "gpt-5-mini", input: "How many gates?" };
  const plain = await openai.responses.create(body);
  assert.equal(plain.status, "completed");
  assert.equal(wordsOf(plain.output_text), plain.usage!.output_tokens);
  const stream = openai.responses.stream({ ...body, max_output_tokens: 20, instructions: "Count." });
  const deltas: string[] = [];
  for await (const event of stream) if (event.type === "response.output_text.delta") deltas.push(event.delta);
  const final = await stream.finalResponse();
  assert.equal(final.output_text, deltas.join(""));
  assert.equal(final.usage!.output_tokens, deltas.length);

  const embedding = await openai.embeddings.create({
    model: "text-embedding-3-small",
    input: ["a", "b"],
    dimensions: 8,
  });
  assert.deepEqual(
    embedding.data.map((item) => item.embedding.length),
    [8, 8],
  );
  const norm = Math.hypot(...embedding.data[0]!.embedding);
  assert.ok(Math.abs(norm - 1) < 1e-6);

  const completion = await openai.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "Once" });
  assert.equal(wordsOf(completion.choices[0]!.text), completion.usage!.completion_tokens);
  const streamed = await collect(
    await openai.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "Once", stream: true }),
  );
  assert.ok(streamed.length > 10);
  assert.ok((await collect(openai.models.list())).length > 1);
  await assert.rejects(openai.models.retrieve("no-such"), OpenAI.NotFoundError);
});

test("the Anthropic SDK reads synthesised messages, plain and streamed, and counts", async () => {
  const body = { model: "claude-test", max_tokens: 100, messages };
  const plain = await anthropic.messages.create(body);
  const [block] = plain.content;
  assert.ok(block?.type === "text");
  assert.equal(wordsOf(block.text), plain.usage.output_tokens);
  assert.equal(plain.stop_reason, "end_turn");
  const stream = anthropic.messages.stream(body);
  const deltas: string[] = [];
  stream.on("text", (text) => deltas.push(text));
  const final = await stream.finalMessage();
  const [streamed] = final.content;
  assert.ok(streamed?.type === "text" && streamed.text === deltas.join(""));
  assert.equal(final.usage.output_tokens, deltas.length);
  const counted = await anthropic.messages.countTokens({ model: body.model, messages });
  assert.equal(counted.input_tokens, plain.usage.input_tokens);
  assert.ok((await collect(anthropic.models.list())).length > 1);
});

test("the SDKs read recorded streams to their end", async () => {
  for (const { id, path } of recordings.filter(({ stream, status }) => stream && status === 200)) {
    const options = { headers: { "x-replay-id": id } };
    const asked = { model: "m", max_tokens: 1, messages, input: "", stream: true } as const;
    const bare = path.split("?")[0];
    if (bare === "/v1/chat/completions")
      assert.ok((await collect(await openai.chat.completions.create(asked, options))).length > 0, id);
    if (bare === "/v1/responses")
      assert.ok((await collect(await openai.responses.create(asked, options))).length > 0, id);
    if (bare === "/v1/messages")
      assert.ok((await collect(await anthropic.messages.create(asked, options))).length > 0, id);
  }
});

test("the SDKs raise their own errors from injected ones", async () => {
  const options = { headers: { "x-replay-fail-status": "429" } };
  const body = { model: "gpt-4o", messages };
  await assert.rejects(openai.chat.completions.create(body, options), OpenAI.RateLimitError);
  await assert.rejects(
    anthropic.messages.create({ ...body, max_tokens: 5 }, { headers: { "x-replay-mid-stream-error": "x" } }),
    Anthropic.BadRequestError,
  );
  const stream = await anthropic.messages.create(
    { ...body, max_tokens: 5, stream: true },
    { headers: { "x-replay-mid-stream-error": "2" } },
  );
  await assert.rejects(collect(stream), /overloaded_error/);
});

test("startReplayProvider adds the usage chunk to a recorded chat stream that lacks it, and nothing else", async () => {
  const streams = recordings.filter(
    ({ path, stream, requestBody, status }) =>
      path === "/v1/chat/completions" && stream && status === 200 && typeof requestBody === "object",
  );
  assert.ok(streams.length > 0);
  let added = 0;
  for (const { id, path, requestBody, responseBody } of streams) {
    const spliced = { ...(requestBody as object), stream: true, stream_options: { include_usage: true } };
    const answer = await fetch(`${provider.url}${path}`, {
      method: "POST",
      headers: { authorization: "Bearer test", "x-replay-id": id },
      body: JSON.stringify(spliced),
    });
    const before = eventsOf(Buffer.from(responseBody)).map(String);
    const got = eventsOf(Buffer.from(await answer.bytes())).map(String);
    const extra = got.filter((event) => !before.includes(event));
    if (!responseBody.includes("data: [DONE]") || /"usage": ?\{/.test(responseBody)) {
      assert.deepEqual(got, before);
      continue;
    }
    added += 1;
    assert.equal(extra.length, 1, id);
    const chunk = JSON.parse(extra[0]!.slice("data: ".length));
    assert.deepEqual(chunk.choices, []);
    assert.ok(chunk.usage.completion_tokens > 0 && chunk.usage.prompt_tokens > 0, id);
    assert.deepEqual(
      got.filter((event) => event !== extra[0]),
      before,
    );
    assert.match(got[got.indexOf(extra[0]!) + 1]!, /^data: \[DONE\]/);
  }
  assert.ok(added > 0);
});

test("startReplayProvider answers what it does not know as the provider does", async () => {
  const ask = async (method: string, path: string, body?: string) => {
    const answer = await fetch(`${provider.url}${path}`, {
      method,
      headers: { authorization: "Bearer test" },
      ...(body === undefined ? {} : { body }),
    });
    return [answer.status, await answer.text()] as const;
  };
  const cases: readonly (readonly [string, string, string | undefined, number, RegExp])[] = [
    ["GET", "/v1/nothing", undefined, 404, /Invalid URL \(GET \/v1\/nothing\)/],
    ["POST", "/v1/chat/completions", "{", 400, /could not parse the JSON body/],
    ["POST", "/v1/chat/completions", "[]", 400, /could not parse the JSON body/],
    ["POST", "/v1/messages", '{"messages":[]}', 400, /^\{"type":"error".*must provide a model/],
    [
      "POST",
      "/v1/messages",
      '{"model":"m","messages":{"a":[null]},"max_tokens":-1}',
      200,
      /"type":"message"/,
    ],
    ["GET", "/v1/models/%E0%A4%A", undefined, 404, /does not exist/],
  ];
  for (const [method, path, body, status, words] of cases) {
    const [gotStatus, text] = await ask(method, path, body);
    assert.equal(gotStatus, status, `${path} ${text}`);
    assert.match(text, words);
  }
});
