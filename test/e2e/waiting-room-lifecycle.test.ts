import assert from "node:assert/strict";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { LOOK_MAX } from "../../src/ports/permit-queue.ts";
import { rawCall } from "../support/http-client.ts";
import { errorLines } from "../support/limits-page.ts";
import { type GatewayTestOptions, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";
import { chatBody, chatCall, errorOf, openChat, waitingOf, waitingPageOf } from "../support/waiting-calls.ts";

const KEYS = `
identity:
  keys:
    - { key: key-of-ann, user: ann, plan: p }
    - { key: key-of-ben, user: ben, plan: p }
`;
const plan = (limits: string, rest = "max_wait: 60s") =>
  `plans: { p: { ${rest}, limits: [${limits}] } }\n${KEYS}`;
const ONE_AT_A_TIME = "{ meter: concurrency, limit: 1 }";
/** Waits for minutes are allowed, so that only what a test does ends them. */
const PATIENT = "max_wait: 10m";

async function start(t: TestContext, yaml: string, options: Partial<GatewayTestOptions> = {}) {
  const under = await startGatewayUnderTest({ yaml, ...options });
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await under.close();
    assert.deepEqual(errorLines(under), []);
  };
  t.after(close);
  /** Takes the only place there is, until it hangs up. */
  const hold = async (key: string) => {
    const { requests } = under.provider.stats;
    const held = openChat(under.url, key, { "x-replay-hang": "true" });
    await until(() => under.provider.stats.requests > requests);
    return held;
  };
  const waits = (key: string, count: number) =>
    until(async () => (await waitingOf(under.url, key)).length === count);
  return { ...under, under, hold, waits, close };
}

test("a call that waits for a place is not told that it goes at once where nobody knows how long calls take", async (t) => {
  const { url, hold, waits } = await start(t, plan(ONE_AT_A_TIME));
  const held = await hold("key-of-ann");
  const waiting = openChat(url, "key-of-ann");
  await waits("key-of-ann", 1);
  const [shown] = await waitingOf(url, "key-of-ann");
  assert.equal(shown.position, 1);
  assert.equal(shown.expected_ms, null);
  waiting.destroy();
  held.destroy();
});

/** A rolling window in which a second call waits for about 100 seconds. */
const SLOW = "{ meter: requests, limit: 1, per: 100s }";

for (const store of ["memory:", "embedded:./state"]) {
  test(`calls that wait follow limits that a reload raises, removes or lowers (Q4, L4) ${store}`, async (t) => {
    const { url, waits, reload, under } = await start(t, plan(SLOW, PATIENT), { store });
    assert.equal((await chatCall(url, "key-of-ann")).status, 200);
    const raised = chatCall(url, "key-of-ann");
    await waits("key-of-ann", 1);
    const [shown] = await waitingOf(url, "key-of-ann");
    assert.ok(shown.expected_ms !== null, "a window tells when it has room again");
    assert.ok(shown.expected_ms > 80_000 && shown.expected_ms <= 110_000, JSON.stringify(shown));
    // Something else changes: nobody's turn has come.
    reload(`${plan(SLOW, PATIENT)}\naliases: { a: b }`);
    assert.equal((await waitingOf(url, "key-of-ann")).length, 1);
    reload(plan("{ meter: requests, limit: 2, per: 100s }", PATIENT));
    assert.equal((await raised).status, 200);

    const removed = chatCall(url, "key-of-ann");
    await waits("key-of-ann", 1);
    reload(plan("{ meter: requests, limit: 1000, per: 1h }", PATIENT));
    assert.equal((await removed).status, 200);

    reload(plan("{ meter: requests, limit: 2, per: 100s }", PATIENT));
    const lowered = chatCall(url, "key-of-ann");
    await waits("key-of-ann", 1);
    reload(plan("{ meter: requests, limit: 1, per: 100s }", "max_wait: 30s"));
    const refused = await lowered;
    assert.equal(refused.status, 429);
    assert.equal(errorOf(refused).code, "rate_limit_exceeded");
    assert.ok(Number(refused.headers["retry-after"]) > 80);
    assert.equal(await under.metric("sluice_waiting"), 0);
  });
}

test("calls that wait are refused at once when a reload says that their plan's do not wait, in order when it does not (Q4)", async (t) => {
  const { url, waits, reload, hold, provider } = await start(t, plan(ONE_AT_A_TIME, PATIENT));
  const held = await hold("key-of-ann");
  const order: number[] = [];
  const calls = [];
  for (const i of [0, 1, 2]) {
    calls.push(chatCall(url, "key-of-ann", {}, `call ${i}`).then(({ status }) => assert.equal(status, 200)));
    await waits("key-of-ann", i + 1);
  }
  reload(plan(`${ONE_AT_A_TIME}, { meter: requests, limit: 1000, per: 1m }`, PATIENT));
  await waits("key-of-ann", 3);
  const before = provider.requests.length;
  held.destroy();
  await Promise.all(calls);
  for (const { body } of provider.requests.slice(before)) {
    order.push(Number(/call (\d)/.exec(body.toString())?.[1]));
  }
  assert.deepEqual(order, [0, 1, 2]);

  const again = await hold("key-of-ann");
  const waiting = chatCall(url, "key-of-ann");
  await waits("key-of-ann", 1);
  reload(plan(ONE_AT_A_TIME, "when_limited: reject"));
  const refused = await waiting;
  assert.equal(errorOf(refused).code, "rate_limit_exceeded");
  again.destroy();
});

test("a plan that a reload takes away refuses its calls that wait (Q4)", async (t) => {
  const { url, waits, reload, hold } = await start(t, plan(ONE_AT_A_TIME, PATIENT));
  const held = await hold("key-of-ann");
  const waiting = chatCall(url, "key-of-ann");
  await waits("key-of-ann", 1);
  reload(`plans: { q: {} }\n${KEYS.replaceAll("plan: p", "plan: q")}`);
  const refused = await waiting;
  assert.equal(refused.status, 400);
  assert.match(errorOf(refused).message, /no plan "p"/);
  held.destroy();
});

test("a gateway that is stopped serves who waits while it may, and sends the rest elsewhere (X6, Q4)", async (t) => {
  const { url, waits, hold, close, provider } = await start(t, plan(ONE_AT_A_TIME, PATIENT), {
    bounds: { drainTimeoutMs: 600 },
  });
  const held = await hold("key-of-ann");
  const served = chatCall(url, "key-of-ann");
  await waits("key-of-ann", 1);
  const stuck = await hold("key-of-ben");
  const refused = chatCall(url, "key-of-ben");
  await waits("key-of-ben", 1);
  const closed = close();
  held.destroy();
  assert.equal((await served).status, 200);
  const answer = await refused;
  assert.equal(answer.status, 429);
  assert.equal(errorOf(answer).code, "queue_timeout");
  assert.match(errorOf(answer).message, /shutting down/);
  assert.equal(answer.headers["retry-after-ms"], "1000");
  await closed;
  stuck.destroy();
  assert.equal(provider.stats.requests, 3);
});

test("a stream that waits for seconds is kept alive with comments, and then is what it would have been (S1)", async (t) => {
  const { url, hold, under } = await start(t, plan(ONE_AT_A_TIME, `${PATIENT}, keepalive: true`));
  const body = JSON.stringify(chatBody("tell me", { stream: true }));
  const headers = { "content-type": "application/json", authorization: "Bearer key-of-ann" };
  const stream = () => rawCall(url, { path: "/v1/chat/completions", headers, body });
  const plain = await stream();
  const held = await hold("key-of-ann");
  const kept = stream();
  const openai = new OpenAI({ apiKey: "key-of-ann", baseURL: `${url}/v1`, maxRetries: 0 });
  const sdk = openai.chat.completions.create(
    chatBody("tell me", { stream: true }) as never,
  ) as unknown as Promise<AsyncIterable<OpenAI.ChatCompletionChunk>>;
  // The head comes while it waits.
  const chunks = await sdk;
  assert.equal(await under.metric('sluice_waiting{priority="normal"}'), 2);
  held.destroy();
  const answer = await kept;
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["content-type"], "text/event-stream; charset=utf-8");
  assert.match(answer.body.toString(), /^(: waiting for [\dms]+\n\n)+data: /);
  const withoutComments = answer.body.toString().replace(/^: waiting for [\dms]+\n\n/gm, "");
  assert.equal(withoutId(withoutComments), withoutId(plain.body.toString()));
  let text = "";
  for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
  assert.ok(text.length > 0);
});

/** Synthesised answers differ in these. */
const withoutId = (events: string) => events.replace(/"(id|created)":("[^"]*"|\d+)/g, "");

test("a stream that was kept alive is refused, and fails, as the provider's own streams fail (S4)", async (t) => {
  const { url, hold, provider } = await start(t, plan(ONE_AT_A_TIME, "max_wait: 4s, keepalive: true"));
  const options = { apiKey: "key-of-ann", maxRetries: 0 };
  const openai = new OpenAI({ ...options, baseURL: `${url}/v1` });
  const anthropic = new Anthropic({ ...options, baseURL: url });
  const held = await hold("key-of-ann");
  const claude = { ...chatBody("hi"), model: "claude-3-5-haiku-latest" };
  const [chat, responses, messages] = await Promise.all([
    read(() => openai.chat.completions.create({ ...chatBody("hi"), stream: true })),
    read(() => openai.responses.create({ model: "gpt-4o-mini", input: "hi", stream: true })),
    read(() => anthropic.messages.create({ ...claude, stream: true })),
  ]);
  held.destroy();
  assert.ok(chat.error instanceof OpenAI.APIError, String(chat.error));
  assert.equal(chat.error.code, "queue_timeout");
  assert.match(chat.error.message, /has waited for 4s/);
  // The Responses API has an event for it, which its SDK hands on or throws.
  assert.match(JSON.stringify(responses.events) + String(responses.error), /has waited for 4s/);
  assert.ok(messages.error instanceof Anthropic.APIError, String(messages.error));
  assert.match(messages.error.message, /rate_limit_error.*has waited for 4s/);

  // The provider's own error comes the same way.
  const again = await hold("key-of-ann");
  const failing = read(() =>
    openai.chat.completions.create(
      { ...chatBody("hi"), stream: true },
      { headers: { "x-replay-fail-status": "503" } },
    ),
  );
  const { requests } = provider.stats;
  setTimeout(() => again.destroy(), 3_300);
  const { error } = await failing;
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.equal(provider.stats.requests, requests + 1);
  assert.doesNotMatch(error.message, /queue|waited/);
});

async function read<T>(open: () => PromiseLike<AsyncIterable<T>>) {
  const events: T[] = [];
  try {
    for await (const event of await open()) events.push(event);
    return { events, error: undefined };
  } catch (error) {
    return { events, error };
  }
}

test("a stream that waits for less is not begun early, and its status is its own (S1)", async (t) => {
  const { url, hold, waits } = await start(t, plan(ONE_AT_A_TIME, "max_wait: 1s, keepalive: true"));
  const held = await hold("key-of-ann");
  const body = JSON.stringify(chatBody("hi", { stream: true }));
  const headers = { "content-type": "application/json", authorization: "Bearer key-of-ann" };
  const refused = rawCall(url, { path: "/v1/chat/completions", headers, body });
  await waits("key-of-ann", 1);
  assert.equal((await refused).status, 429);
  held.destroy();
});

test("what passes through unread waits with its body on the way, and arrives whole (S1, S3)", async (t) => {
  const { url, provider } = await start(t, plan("{ meter: requests, limit: 1, per: 1s }"));
  const body = Buffer.alloc(3_000_000, "0123456789");
  const headers = { "content-type": "application/octet-stream", authorization: "Bearer key-of-ann" };
  const calls = [0, 1, 2].map(() => rawCall(url, { path: "/openai/v1/files", headers, body }));
  const waits = (await Promise.all(calls)).map((answer) => Number(answer.headers["x-sluice-wait-ms"]));
  assert.ok(Math.max(...waits) > 1_500, `${waits}`);
  assert.equal(provider.requests.length, 3);
  for (const received of provider.requests) assert.ok(received.body.equals(body), `${received.body.length}`);
});

test("calls on one connection wait one after the other, and those on others are not kept waiting (X3)", async (t) => {
  const { url, hold } = await start(t, plan(ONE_AT_A_TIME));
  const held = await hold("key-of-ann");
  const { port } = new URL(url);
  const request = (key: string) => {
    const body = JSON.stringify(chatBody("hi"));
    return `POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  };
  const socket = connect(Number(port), "127.0.0.1");
  let received = "";
  socket.on("data", (bytes) => (received += bytes));
  // Pipelined: the second call's user has nothing to wait for.
  socket.write(request("key-of-ann") + request("key-of-ben"));
  assert.equal((await chatCall(url, "key-of-ben")).status, 200);
  assert.equal(received, "");
  held.destroy();
  await until(() => received.split("HTTP/1.1 200").length === 3);
  socket.destroy();
});

test("waiting shows in the metrics, by priority and never by user (X5)", async (t) => {
  const { url, hold, waits, under } = await start(t, plan(ONE_AT_A_TIME, "priority: low, max_wait: 400ms"));
  const held = await hold("key-of-ann");
  const refused = chatCall(url, "key-of-ann");
  const leaving = openChat(url, "key-of-ann");
  await waits("key-of-ann", 2);
  assert.equal(await under.metric('sluice_waiting{priority="low"}'), 2);
  assert.equal(await under.metric('sluice_waiting{priority="normal"}'), 0);
  leaving.destroy();
  assert.equal((await refused).status, 429);
  held.destroy();
  const page = await (await fetch(`${url}/metrics`)).text();
  assert.match(page, /sluice_wait_seconds_count\{priority="low",outcome="refused"\} 1/);
  assert.match(page, /sluice_wait_seconds_count\{priority="low",outcome="left"\} 1/);
  assert.match(page, /sluice_calls_refused_total\{reason="queue_timeout",priority="low"\} 1/);
  assert.doesNotMatch(page, /"ann"|=ann/);
});

test("the page of a caller's limits shows the first calls that wait, and how many there are (X3)", async (t) => {
  const { url, hold } = await start(t, plan(ONE_AT_A_TIME, PATIENT));
  const held = await hold("key-of-ann");
  const waiting = Array.from({ length: LOOK_MAX + 5 }, () => openChat(url, "key-of-ann"));
  waiting.push(openChat(url, "key-of-ann", { "x-sluice-priority": "low" }));
  await until(async () => (await waitingPageOf(url, "key-of-ann")).waiting_total === waiting.length);
  const page = await waitingPageOf(url, "key-of-ann");
  const normal = Array.from({ length: LOOK_MAX }, (_, at) => ["normal", at + 1]);
  assert.deepEqual(
    page.waiting.slice(0, -1).map(({ priority, position }) => [priority, position]),
    normal,
  );
  assert.equal(page.waiting.at(-1)?.priority, "low");
  assert.equal((await waitingPageOf(url, "key-of-ben")).waiting_total, 0);
  for (const call of [...waiting, held]) call.destroy();
  await until(async () => (await waitingPageOf(url, "key-of-ann")).waiting_total === 0);
});

test("a budget that comes back after max_wait is not waited for (Q4)", async (t) => {
  const { url } = await start(
    t,
    `plans: { p: { max_wait: 60s, limits: [{ meter: cost, limit: 0.0002, per: month }] } }\n${KEYS}`,
  );
  const ask = () => chatCall(url, "key-of-ann", {}, "a long question ".repeat(50));
  // Each fits into the whole budget; some of them use it up.
  let refused = await ask();
  assert.equal(refused.status, 200);
  for (let calls = 0; refused.status === 200 && calls < 50; calls++) refused = await ask();
  assert.equal(refused.status, 429);
  assert.equal(errorOf(refused).code, "budget_exceeded");
  assert.equal(refused.headers["x-should-retry"], "false");
  assert.deepEqual(await waitingOf(url, "key-of-ann"), []);
});
