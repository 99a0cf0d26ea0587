import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { calcPrice, extractUsage, findProvider } from "@pydantic/genai-prices";
import OpenAI from "openai";
import { isObject, type Recording } from "../../src/replay-provider/recording.ts";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { allRecordedRows, allRecordings } from "../support/recordings.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { stepsApart } from "../support/steps-apart.ts";
import { until } from "../support/until.ts";

const NANO = 1e9;

/** The catalogue's own name of an answer's shape, by the end of the path. */
const FLAVORS: readonly (readonly [end: RegExp, provider: string, flavor: string])[] = [
  [/\/v1\/chat\/completions$/, "openai", "chat"],
  [/\/v1\/responses$/, "openai", "responses"],
  [/\/v1\/embeddings$/, "openai", "embeddings"],
  [/\/v1\/messages$/, "anthropic", "default"],
];

interface Priced {
  readonly recording: Recording;
  readonly provider: string;
  /** By the catalogue's own reading of the usage and its own arithmetic; `undefined` where it has no price. */
  readonly nanoUsd: number | undefined;
}

const searchesIn = (body: string): number =>
  Number(/"web_search":\s*\{[^}]*"num_requests":\s*(\d+)/.exec(body)?.[1] ?? 0);

/** Calls to the two main providers whose answers have a usage, with what they cost. */
function pricedRecordings(): readonly Priced[] {
  const rows = allRecordedRows();
  return allRecordings().flatMap((recording, index) => {
    const found = FLAVORS.find(([end]) => end.test(recording.path.split("?")[0]));
    const { usage, status, method, requestBody } = recording;
    if (found === undefined || !isObject(usage) || !isObject(requestBody) || method !== "POST") return [];
    const [, provider, flavor] = found;
    if (rows[index].provider !== provider || status >= 300) return [];
    const model = String(requestBody.model);
    const listed = findProvider({ providerId: provider });
    assert.ok(listed !== undefined);
    const priceOf = (of: string, part: object, web_searches = 0) => {
      const read = extractUsage(listed, { model: of, usage: part }, flavor);
      const used = web_searches === 0 ? read.usage : { ...read.usage, web_searches };
      const result = calcPrice(used, of, { providerId: provider });
      if (result === null || result.model_price.input_mtok === undefined) return Number.NaN;
      // A sum of doubles: what is less than a ten-thousandth of a nano-dollar is not there.
      return Math.ceil(Math.round(result.total_price * NANO * 1e4) / 1e4);
    };
    // OpenAI counts searches beside the usage, where the catalogue does not look.
    let nanoUsd = priceOf(model, usage, searchesIn(recording.responseBody));
    for (const step of stepsApart(recording.responseBody))
      nanoUsd += priceOf(String(step.model ?? model), step);
    return [{ recording, provider, nanoUsd: Number.isNaN(nanoUsd) ? undefined : nanoUsd }];
  });
}

const PROVIDERS = `
providers:
  openai: { base_url: "PROVIDER", accounts: [{ name: main, key: k }] }
  anthropic: { base_url: "PROVIDER", accounts: [{ name: main, key: k }] }
`;

const call = (under: GatewayUnderTest, key: string, path: string, body: unknown, id?: string) =>
  rawCall(under.url, {
    path,
    headers: {
      ...(path.includes("/messages")
        ? { "x-api-key": key, "anthropic-version": "2023-06-01" }
        : { authorization: `Bearer ${key}` }),
      "content-type": "application/json",
      ...(id === undefined ? {} : { "x-replay-id": id }),
    },
    body: JSON.stringify(body),
  });

const costOn = async (under: GatewayUnderTest, key: string) => {
  const limit = (await limitsPage(under.url, key)).find(({ meter }) => meter === "cost");
  assert.ok(limit !== undefined);
  return limit;
};

test("every recorded call costs on GET /sluice/v1/limits what the catalogue computes from its usage, to the nano-dollar (E6)", async () => {
  const priced = pricedRecordings();
  const under = await startGatewayUnderTest({
    recordings: allRecordings(),
    yaml: `${PROVIDERS}
plans: { p: { limits: [{ meter: cost, limit: 100000, per: month }] } }
identity: { keys: [{ key: key-of-alice, user: alice }] }`,
  });
  try {
    let spentNanoUsd = 0;
    let compared = 0;
    for (const { recording, provider, nanoUsd } of priced) {
      const path = `/${provider}${recording.path}`;
      const answer = await call(under, "key-of-alice", path, recording.requestBody, recording.id);
      const label = `${recording.id} ${JSON.stringify(recording.usage)}`;
      if (nanoUsd === undefined) {
        assert.equal(answer.status, 400, `${label}: ${answer.body}`);
        continue;
      }
      assert.equal(answer.status, recording.status, `${label}: ${answer.body}`);
      spentNanoUsd += nanoUsd;
      compared += 1;
      const { used, held, remaining } = await costOn(under, "key-of-alice");
      assert.deepEqual(
        [used, held, remaining],
        [spentNanoUsd / NANO, 0, (100_000 * NANO - spentNanoUsd) / NANO],
        label,
      );
    }
    assert.ok(compared >= 20, `only ${compared} of ${priced.length} recordings have a price`);
  } finally {
    await under.close();
  }
});

async function limitsPageRaw(under: GatewayUnderTest, key: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${key}` };
  const { body } = await rawCall(under.url, { method: "GET", path: "/sluice/v1/limits", headers });
  return JSON.parse(body.toString());
}

describe("budgets", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({
      yaml: `${PROVIDERS}
prices:
  - { model: "gpt-4o*", input: 100, output: 100 }
unknown_price: refuse
plans:
  small: { limits: [{ meter: cost, limit: 0.01, per: day, timezone: Europe/Vienna }] }
  rolling: { limits: [{ meter: cost, limit: 0.01, per: 7d }] }
  tiny: { limits: [{ meter: cost, limit: 0.000001, per: month }] }
  free: { limits: [{ meter: requests, limit: 100, per: 1m }] }
  far: { limits: [{ meter: cost, limit: 12.345678901, per: month, timezone: Asia/Kathmandu }] }
limits:
  - { name: team-week, scope: team, meter: cost, limit: 1, per: week }
  - { name: of-a-feature, scope: feature, meter: cost, limit: 1, per: month }
  - { name: house, scope: global, meter: cost, limit: 20, per: 30d, mode: shadow }
identity:
  keys:
    - { key: key-of-alice, user: alice, plan: small, team: research, feature: chat }
    - { key: key-of-bob, user: bob, plan: rolling }
    - { key: key-of-carol, user: carol, plan: tiny }
    - { key: key-of-dave, user: dave, plan: free }
    - { key: key-of-erin, user: erin, plan: far }`,
    });
  });
  after(() => under.close());

  const chat = { model: "gpt-4o-mini", messages: [{ role: "user" as const, content: "hi" }], max_tokens: 20 };
  /** Calls until it is refused, as an SDK with its usual retries does. */
  const spend = async (apiKey: string) => {
    const client = new OpenAI({ apiKey, baseURL: `${under.url}/v1` });
    for (let calls = 0; calls < 100; calls++) {
      const asked = under.provider.stats.requests;
      try {
        await client.chat.completions.create(chat);
      } catch (error) {
        assert.ok(error instanceof OpenAI.RateLimitError, String(error));
        assert.equal(under.provider.stats.requests, asked, "the provider was called");
        return error;
      }
    }
    return assert.fail("never refused");
  };

  test("a budget that is used up refuses for good, says what is left and when it resets, and no SDK tries again (L13)", async () => {
    const refused = await spend("key-of-alice");
    assert.equal(refused.code, "budget_exceeded");
    assert.equal(refused.headers.get("x-should-retry"), "false");
    assert.equal(refused.headers.get("retry-after"), null);
    assert.match(
      refused.message,
      /"cost-day" of 0\.01 USD per day \(Europe\/Vienna\), 0(\.00\d+)? left, 0\.00\d+ requested\. The budget resets in \d+[hms]/,
    );
    assert.equal(await under.metric("sluice_calls_refused_total"), 1);
    const page = await limitsPage(under.url, "key-of-alice");
    const [day, team, feature, house] = page;
    assert.deepEqual(
      page.map(({ name, limit }) => [name, limit]),
      [
        ["cost-day", 0.01],
        ["team-week", 1],
        ["of-a-feature", 1],
        ["house", 20],
      ],
    );
    assert.ok(day.used > 0.005 && day.used <= 0.012 && day.held === 0, JSON.stringify(day));
    // One call, one cost, on every limit that counts money.
    for (const other of [team, feature, house]) assert.deepEqual([other.used, other.held], [day.used, 0]);
  });

  test("a rolling budget is terminal too, and says when enough of it is back", async () => {
    const refused = await spend("key-of-bob");
    assert.equal(refused.code, "budget_exceeded");
    assert.equal(refused.headers.get("x-should-retry"), "false");
    assert.match(refused.message, /"cost-7d" of 0\.01 USD per 7d.*Enough of the budget is back in \d+d/);
  });

  test("a call that no budget of its size can pay for is refused as such (L4)", async () => {
    const answer = await call(under, "key-of-carol", "/v1/chat/completions", chat);
    assert.equal(answer.status, 429);
    assert.equal(answer.headers["x-should-retry"], "false");
    assert.match(answer.body.toString(), /never holds more than 0\.000001\..*request_too_large_for_limit/s);
  });

  test("a model without a price is refused where money is counted, loudly, and nowhere else (E6)", async () => {
    const unknown = { ...chat, model: "nobody-knows" };
    const refused = await call(under, "key-of-bob", "/v1/chat/completions", unknown);
    assert.equal(refused.status, 400);
    assert.match(refused.body.toString(), /nobody-knows.*cost-7d.*unknown_price.*"code":"invalid_request"/s);
    await call(under, "key-of-bob", "/v1/chat/completions", unknown);
    const lines = under.lines.filter((line) => line.includes("nobody-knows"));
    assert.equal(lines.length, 1, lines.join());
    // A limit in shadow mode only reports.
    assert.equal((await call(under, "key-of-dave", "/v1/chat/completions", unknown)).status, 200);
    assert.equal(await under.metric("sluice_prices_unknown_total"), 3);
  });

  test("GET /sluice/v1/limits shows what of a budget is used, held and left, in USD, and when it resets (L7, L13)", async () => {
    const page = async () => {
      const { limits } = (await limitsPageRaw(under, "key-of-erin")) as {
        limits: Readonly<Record<string, unknown>>[];
      };
      return limits;
    };
    const [unused] = await page();
    const { resets_at: resetsAt, ...rest } = unused;
    assert.deepEqual(rest, {
      name: "cost-month",
      meter: "cost",
      scope: "user",
      per: "month",
      limit: 12.345678901,
      used: 0,
      held: 0,
      remaining: 12.345678901,
      more_in_ms: 0,
      timezone: "Asia/Kathmandu",
    });
    // The first of a month, 5 h 45 min before that of Greenwich.
    assert.match(String(resetsAt), /T18:15:00\.000Z$/);
    assert.ok(Date.parse(String(resetsAt)) > Date.now());
    under.provider.switches.set({ latencyMs: 300 });
    const calls = [1, 2].map(() => call(under, "key-of-erin", "/v1/chat/completions", chat));
    await until(async () => (await page()).some(({ held }) => Number(held) > 0.003));
    const [open] = await page();
    assert.equal(open.used, 0);
    const nano = (usd: unknown) => Math.round(Number(usd) * NANO);
    assert.equal(nano(open.held) + nano(open.remaining), 12_345_678_901);
    under.provider.switches.reset();
    const answers = await Promise.all(calls);
    const costs = answers.map(({ headers }) => nano(headers["x-sluice-cost-usd"]));
    const [settled] = await page();
    assert.equal(nano(settled.used), costs[0] + costs[1]);
    assert.equal(settled.held, 0);
    assert.equal(nano(settled.remaining), 12_345_678_901 - costs[0] - costs[1]);
    assert.equal(settled.resets_at, resetsAt);
    assert.ok(Math.abs(Date.now() + Number(settled.more_in_ms) - Date.parse(String(resetsAt))) < 2_000);
    // A rolling budget has no such moment.
    const rolling = JSON.stringify(await limitsPageRaw(under, "key-of-bob"));
    assert.doesNotMatch(rolling, /resets_at|timezone/);
  });

  test("headers of the standards have no money in them", async () => {
    const { headers } = await call(under, "key-of-dave", "/v1/chat/completions", chat);
    assert.match(headers["ratelimit-policy"], /"requests-1m";q=100/);
    assert.doesNotMatch(JSON.stringify(headers), /house|cost-(?!usd)|team-week/);
  });
});
