import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { ReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { errorLines } from "../support/limits-page.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { type GatewayUnderTest, startFleetUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";
import { chatBody, chatCall, errorOf, openChat, waitingOf } from "../support/waiting-calls.ts";

const ROOM = `
plans:
  patient: { max_wait: 20s, limits: [{ meter: requests, limit: 1, per: 1s }] }
  hourly: { max_wait: 2s, limits: [{ meter: requests, limit: 1, per: 1h }] }
  single: { max_wait: 300ms, limits: [{ meter: concurrency, limit: 1 }] }
  urgent: { priority: high, max_wait: 20s }
  plain: { max_wait: 20s, limits: [{ meter: requests, limit: 1000, per: 1s }] }
  hasty: { when_limited: reject }
limits:
  - { name: one-at-a-time, scope: global, match: { feature: shared }, meter: concurrency, limit: 1 }
identity:
  keys:
    - { key: key-of-pat, user: pat, plan: patient }
    - { key: key-of-hanna, user: hanna, plan: hourly }
    - { key: key-of-sid, user: sid, plan: single }
    - { key: key-of-ursula, user: ursula, plan: urgent, feature: shared }
    - { key: key-of-paul, user: paul, plan: plain, feature: shared }
    - { key: key-of-peter, user: peter, plan: plain, feature: shared }
    - { key: key-of-harry, user: harry, plan: hasty, feature: shared }
bounds: { waiting_per_user_max: 2 }
`;

const stores = [
  { name: "in memory", size: 1, open: async () => ({ url: "memory:", redis: undefined }) },
  { name: "embedded", size: 1, open: async () => ({ url: "embedded:./state", redis: undefined }) },
  {
    name: "of two gateways on one Redis",
    size: 2,
    open: async () => {
      const redis = await startRedisServer();
      return { url: redis.url, redis };
    },
  },
] as const;

for (const { name, size, open } of stores) {
  describe(`the waiting room ${name}`, () => {
    let redis: RedisServer | undefined;
    let fleet: Awaited<ReturnType<typeof startFleetUnderTest>>;
    let gateways: readonly GatewayUnderTest[];
    let provider: ReplayProvider;
    before(async () => {
      const opened = await open();
      redis = opened.redis;
      fleet = await startFleetUnderTest(size, { yaml: ROOM, store: opened.url });
      ({ gateways, provider } = fleet);
    });
    after(async () => {
      for (const gateway of gateways) assert.deepEqual(errorLines(gateway), []);
      await fleet.close();
      await redis?.stop();
    });

    let turn = 0;
    /** Each call goes to the next gateway. */
    const url = () => gateways[turn++ % size].url;
    const call = (key: string, content = "hi", headers: Readonly<Record<string, string>> = {}) =>
      chatCall(url(), key, headers, content);
    const waits = (key: string, count: number) =>
      until(async () => (await waitingOf(url(), key)).length === count);
    /** Takes the only place there is, until it hangs up. */
    const hold = async (key: string) => {
      const { requests: before } = provider.stats;
      const held = openChat(url(), key, { "x-replay-hang": "true" });
      await until(() => provider.stats.requests > before);
      return held;
    };

    test("calls over a limit wait and are served, each as soon as it fits, with official clients (Q8, L3)", async () => {
      const options = { apiKey: "key-of-pat", maxRetries: 0 };
      const openai = (at: string) => new OpenAI({ ...options, baseURL: `${at}/v1` });
      const anthropic = new Anthropic({ ...options, baseURL: url() });
      const started = performance.now();
      const waited = await Promise.all([
        openai(url()).chat.completions.create(chatBody("a")).withResponse(),
        openai(url()).chat.completions.create(chatBody("b")).withResponse(),
        anthropic.messages.create({ ...chatBody("c"), model: "claude-3-5-haiku-latest" }).withResponse(),
      ]);
      const tookMs = performance.now() - started;
      const waits = waited
        .map(({ response }) => Number(response.headers.get("x-sluice-wait-ms")))
        .sort(byValue);
      assert.equal(waits[0], 0);
      assert.ok(waits[1] >= 800 && waits[1] < 2_500, `${waits}`);
      assert.ok(waits[2] >= 1_800 && waits[2] < 4_500, `${waits}`);
      assert.ok(tookMs < 6_000, `${tookMs}`);
    });

    test("a call that cannot be served in its max_wait is refused on arrival, with when it would be (Q4)", async () => {
      assert.equal((await call("key-of-hanna")).status, 200);
      const started = performance.now();
      const refused = await call("key-of-hanna");
      assert.ok(performance.now() - started < 1_000);
      assert.equal(refused.status, 429);
      assert.equal(errorOf(refused).code, "rate_limit_exceeded");
      assert.equal(refused.headers["x-sluice-wait-ms"], "0");
      const retryAfter = Number(refused.headers["retry-after"]);
      assert.ok(retryAfter > 3_000 && retryAfter <= 3_600, `${retryAfter}`);
      assert.deepEqual(await waitingOf(url(), "key-of-hanna"), []);
    });

    test("a call that has waited for as long as it may is refused, with when to come again (Q4)", async () => {
      const held = await hold("key-of-sid");
      const started = performance.now();
      const refused = await call("key-of-sid");
      const tookMs = performance.now() - started;
      held.destroy();
      assert.equal(refused.status, 429);
      assert.equal(errorOf(refused).code, "queue_timeout");
      assert.match(
        errorOf(refused).message,
        /has waited for \d+m?s .*In its way: "concurrency" of 1 concurrent requests at once, 0 left, 1 requested\. Please try again in/,
      );
      assert.ok(Number(refused.headers["retry-after-ms"]) > 0);
      assert.ok(refused.headers["x-ratelimit-limit-requests"] === undefined);
      assert.match(refused.headers["ratelimit-policy"], /"concurrency";q=1/);
      // The promise is 50 ms; the rest is for a machine on which other tests run.
      assert.ok(tookMs >= 299 && tookMs < 350 + 1_000, `${tookMs}`);
    });

    test("what comes free goes to the highest priority, and among equals to who came first (Q2)", async () => {
      const held = await hold("key-of-paul");
      const before = provider.requests.length;
      const order: string[] = [];
      const waiting = [];
      for (const [key, headers] of [
        ["key-of-peter", {}],
        ["key-of-paul", {}],
        ["key-of-ursula", { "x-sluice-priority": "low" }],
        ["key-of-ursula", {}],
        // Nobody raises their own priority.
        ["key-of-paul", { "x-sluice-priority": "critical" }],
      ] as const) {
        const name = `${key} ${Object.values(headers)[0] ?? ""}`;
        waiting.push(call(key, name, headers).then(({ status }) => assert.equal(status, 200)));
        await until(async () => {
          const all = await Promise.all(
            ["key-of-peter", "key-of-paul", "key-of-ursula"].map((of) => waitingOf(url(), of)),
          );
          return all.flat().length === waiting.length;
        });
      }
      const page = await waitingOf(url(), "key-of-ursula");
      assert.deepEqual(
        page.map(({ priority, position }) => [priority, position]),
        [
          ["high", 1],
          ["low", 5],
        ],
      );
      held.destroy();
      await Promise.all(waiting);
      for (const { body } of provider.requests.slice(before)) {
        const { messages } = JSON.parse(body.toString()) as { messages: { content: string }[] };
        order.push(messages[0].content);
      }
      assert.equal(order[0], "key-of-ursula ");
      assert.equal(order[4], "key-of-ursula low");
      assert.ok(order.indexOf("key-of-paul ") < order.indexOf("key-of-paul critical"), `${order}`);
    });

    test("a client that hangs up while it waits is out at once, charged nothing, and the next one is served (Q5)", async () => {
      const held = await hold("key-of-paul");
      const leaving = openChat(url(), "key-of-peter");
      await waits("key-of-peter", 1);
      const staying = call("key-of-paul");
      await waits("key-of-paul", 1);
      const calls = provider.stats.requests;
      leaving.destroy();
      await waits("key-of-peter", 0);
      held.destroy();
      assert.equal((await staying).status, 200);
      assert.equal(provider.stats.requests, calls + 1);
    });

    test("a user with too many calls waiting is refused another, and nobody else is (Q6)", async () => {
      const held = await hold("key-of-paul");
      const first = [call("key-of-paul"), call("key-of-paul")];
      await waits("key-of-paul", 2);
      const refused = await call("key-of-paul");
      assert.equal(refused.status, 429);
      assert.equal(errorOf(refused).code, "queue_full");
      assert.ok(Number(refused.headers["retry-after-ms"]) > 0);
      const other = call("key-of-peter");
      await waits("key-of-peter", 1);
      held.destroy();
      for (const { status } of await Promise.all([...first, other])) assert.equal(status, 200);
    });

    test("a call whose plan rejects does not pass those who wait, and does not wait (Q2)", async () => {
      const held = await hold("key-of-paul");
      const waiting = call("key-of-paul");
      await waits("key-of-paul", 1);
      const refused = await call("key-of-harry");
      assert.equal(refused.status, 429);
      assert.equal(errorOf(refused).code, "rate_limit_exceeded");
      held.destroy();
      assert.equal((await waiting).status, 200);
    });

    test("a priority that does not exist is refused (Q2)", async () => {
      const refused = await call("key-of-paul", "hi", { "x-sluice-priority": "urgent" });
      assert.equal(refused.status, 400);
      assert.match(errorOf(refused).message, /critical, high, normal, low/);
    });
  });
}

const byValue = (a: number, b: number) => a - b;
