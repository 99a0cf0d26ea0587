import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const YAML = `
plans:
  shared: { when_limited: reject, limits: [{ meter: requests, limit: 1000, per: 1h }] }
  burst: { when_limited: reject, limits: [{ meter: requests, limit: 60, per: 1h, algorithm: token_bucket, burst: 2 }] }
  none: { when_limited: reject, limits: [{ meter: tokens, limit: 1000, per: 1h, reserve: none }] }
  worst: { when_limited: reject, limits: [{ meter: tokens, limit: 1000, per: 1h, reserve: worst_case }] }
limits:
  - { name: each-key, scope: key, match: { user: ann }, meter: requests, limit: 2, per: 1h }
  - { name: each-model, scope: [user, model], match: { user: bea }, meter: requests, limit: 1, per: 1h }
identity:
  keys:
    - { key: key-1-of-ann, name: laptop, user: ann, plan: shared }
    - { key: key-2-of-ann, name: server, user: ann, plan: shared }
    - { key: key-of-bea, user: bea, plan: burst }
    - { key: key-of-nora, user: nora, plan: none }
    - { key: key-of-will, user: will, plan: worst }
`;

describe("the gateway with limits of every kind", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML });
  });
  after(() => under.close());
  const call = async (key: string, rest: object = {}) => {
    const { status, body } = await rawCall(under.url, {
      path: "/v1/chat/completions",
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model: "gpt-4o-mini",
        messages: [{ role: "user", content: "hi" }],
        max_tokens: 5,
        ...rest,
      }),
    });
    return { status, text: body.toString() };
  };

  test("a limit with scope key counts each named key of a user by itself (L1)", async () => {
    for (const key of ["key-1-of-ann", "key-2-of-ann"]) {
      assert.equal((await call(key)).status, 200);
      assert.equal((await call(key)).status, 200);
      const refused = await call(key);
      assert.equal(refused.status, 429);
      assert.match(refused.text, /each-key/);
    }
  });

  test("a limit with scope model counts each model by itself, a bucket of a plan all of them up to its burst (L1, L2)", async () => {
    assert.equal((await call("key-of-bea")).status, 200);
    const again = await call("key-of-bea");
    assert.equal(again.status, 429);
    assert.match(again.text, /each-model/);
    assert.equal((await call("key-of-bea", { model: "gpt-4o" })).status, 200);
    const third = await call("key-of-bea", { model: "gpt-4.1" });
    assert.equal(third.status, 429);
    assert.doesNotMatch(third.text, /each-model/);
  });

  for (const [reserve, key, held] of [
    ["none", "key-of-nora", 0],
    ["worst_case", "key-of-will", 600],
  ] as const) {
    test(`a limit with reserve: ${reserve} holds as much, and is charged what was used (E5, L7)`, async () => {
      under.provider.switches.set({ latencyMs: 300, outputTokens: 20 });
      const calls = under.provider.stats.requests;
      const answer = call(key, { max_tokens: 600 });
      await until(() => under.provider.stats.requests > calls);
      const [during] = await limitsPage(under.url, key);
      assert.ok(during.held >= held && during.held <= held * 1.1, `${during.held} held`);
      const { text } = await answer;
      under.provider.switches.reset();
      const { usage } = JSON.parse(text) as { usage: { total_tokens: number } };
      await until(async () => (await limitsPage(under.url, key))[0]?.held === 0);
      assert.equal((await limitsPage(under.url, key))[0]?.used, usage.total_tokens);
    });
  }
});
