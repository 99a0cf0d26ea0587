import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";
import { startWebhookReceiver, type WebhookReceiver } from "../support/webhook-receiver.ts";

/** Ten model tokens in, ten out, or so: a call is a tenth of the budget. */
const yaml = (receiver: WebhookReceiver, rest = "") => `
prices: [{ model: "gpt-4o-mini", input: 0, output: 100 }]
plans: { p: { when_limited: reject } }
limits:
  - { name: research-day, scope: team, meter: cost, limit: 0.01, per: day, timezone: Europe/Vienna${rest} }
alerts:
  webhook: { url: "${receiver.url}", secret: "${receiver.secret}", allow_addresses: [127.0.0.0/8] }
identity:
  keys:
    - { key: key-of-alice, user: alice, team: research }
    - { key: key-of-bob, user: bob, team: research }
`;

interface Alert {
  readonly type: string;
  readonly timestamp: string;
  readonly data: {
    readonly name: string;
    readonly subject: object;
    readonly share: number;
    readonly limit: number;
    readonly used: number;
    readonly resets_at: string;
  };
}

const call = (url: string, key: string, outputTokens = 10) =>
  rawCall(url, {
    path: "/v1/chat/completions",
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/json",
      "x-replay-output-tokens": String(outputTokens),
    },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "hi" }],
      max_tokens: outputTokens,
    }),
  });

const told = (receiver: WebhookReceiver) => (receiver.verified() as Alert[]).map(({ data }) => data.share);

/** Spends until the limit refuses. */
async function spend(gateways: readonly GatewayUnderTest[]): Promise<void> {
  for (let i = 0; i < 40; i++) {
    const { status } = await call(
      gateways[i % gateways.length].url,
      i % 3 === 0 ? "key-of-bob" : "key-of-alice",
    );
    if (status === 429) return;
  }
  assert.fail("never refused");
}

describe("alerts of budgets", () => {
  let receiver: WebhookReceiver;
  before(async () => {
    receiver = await startWebhookReceiver();
  });
  beforeEach(() => {
    (receiver.received as unknown[]).length = 0;
  });
  after(() => receiver.close());

  test("a budget is told at 50, 80 and 100 %: a log line, a metric, and a webhook whose signature is right (E8)", async () => {
    const under = await startGatewayUnderTest({ yaml: yaml(receiver) });
    try {
      await spend([under]);
      await until(() => receiver.received.length >= 3);
      assert.deepEqual(told(receiver).sort(), [100, 50, 80]);
      const [first] = receiver.verified() as Alert[];
      const { type, data } = first;
      const [limit] = await limitsPage(under.url, "key-of-alice");
      assert.deepEqual(
        [type, data.name, data.subject, data.limit],
        ["budget.share_reached", "research-day", { team: "research" }, 0.01],
      );
      assert.ok(data.used >= 0.005 && data.used <= limit.used);
      // The next midnight in Vienna, within what the clocks of a test are apart.
      const resetsAt = new Date(data.resets_at);
      const vienna = new Date(resetsAt.getTime() + 500).toLocaleTimeString("de-AT", {
        timeZone: "Europe/Vienna",
      });
      assert.match(vienna, /^0?0:00:0/);
      assert.equal(await under.metric('sluice_budget_alerts_total{limit="research-day",share="80"}'), 1);
      await until(async () => (await under.metric("sluice_alert_webhooks_delivered_total")) === 3);
      const lines = under.lines.filter((line) => line.includes("has been used up to"));
      assert.equal(lines.length, 3);
      assert.match(lines[0], /"limit":"research-day".*"team":"research".*"of":"0\.01 USD"/);
      assert.doesNotMatch(under.lines.join(), /url-token-secret|whsec_|hook\?/);
    } finally {
      await under.close();
    }
    // Nobody tells anything twice on the way out.
    assert.equal(receiver.received.length, 3);
  });

  test("gateways on one Redis tell a share once, and so does one that comes later (E8)", async () => {
    const redis = await startRedisServer();
    try {
      const start = () => startGatewayUnderTest({ yaml: yaml(receiver), store: redis.url });
      const gateways = await Promise.all([start(), start()]);
      await spend(gateways);
      await until(() => receiver.received.length >= 3);
      await Promise.all(gateways.map((gateway) => gateway.close()));
      const later = await start();
      await call(later.url, "key-of-alice");
      await later.close();
      assert.deepEqual(told(receiver).sort(), [100, 50, 80]);
    } finally {
      await redis.stop();
    }
  });

  test("a gateway that is started again on its folder tells no share twice, and the next one (E8)", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sluice-alerts-"));
    try {
      const start = () => startGatewayUnderTest({ yaml: yaml(receiver), store: `embedded:${directory}` });
      const before = await start();
      for (let i = 0; i < 6; i++) await call(before.url, "key-of-alice");
      await before.close();
      assert.deepEqual(told(receiver), [50]);
      const after = await start();
      await spend([after]);
      await after.close();
      assert.deepEqual(told(receiver), [50, 80, 100]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test("a changed file changes the shares and the receiver at once, and a share already told is not told again", async () => {
    const other = await startWebhookReceiver();
    const under = await startGatewayUnderTest({ yaml: yaml(receiver) });
    try {
      for (let i = 0; i < 6; i++) await call(under.url, "key-of-alice");
      await until(() => receiver.received.length === 1);
      under.reload(yaml(other, ", alerts_at: [50, 55]"));
      await call(under.url, "key-of-alice");
      await until(() => other.received.length === 1);
      assert.deepEqual([told(receiver), told(other)], [[50], [55]]);
    } finally {
      await under.close();
      await other.close();
    }
  });

  test("a webhook that fails keeps nobody waiting, and a shutdown leaves its alert to the next gateway (E8)", async () => {
    const failing = await startWebhookReceiver(() => 500);
    const directory = mkdtempSync(join(tmpdir(), "sluice-alerts-"));
    try {
      const store = `embedded:${directory}`;
      const under = await startGatewayUnderTest({ yaml: yaml(failing), store });
      for (let i = 0; i < 6; i++) assert.equal((await call(under.url, "key-of-alice")).status, 200);
      await until(() => failing.received.length >= 1);
      await under.close();
      const next = await startGatewayUnderTest({ yaml: yaml(receiver), store });
      await call(next.url, "key-of-bob");
      await next.close();
      assert.deepEqual(told(receiver), [50]);
      const ids = [failing, receiver].map(({ received }) => received[0].headers["webhook-id"]);
      assert.equal(ids[0], ids[1]);
    } finally {
      await failing.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
