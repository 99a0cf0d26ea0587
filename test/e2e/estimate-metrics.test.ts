import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";

const YAML = `
aliases: { fast: gpt-4o-mini }
plans: { p: { when_limited: reject, limits: [{ meter: tokens, limit: 100000000, per: 1h }] } }
identity: { keys: [{ key: key-of-alice, user: alice }] }
`;

describe("the metrics of estimates", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML });
  });
  after(() => under.close());

  const call = async (model: string, stream = false) => {
    const answer = await rawCall(under.url, {
      path: "/v1/chat/completions",
      headers: {
        authorization: "Bearer key-of-alice",
        "content-type": "application/json",
        "x-replay-output-tokens": "20",
      },
      body: JSON.stringify({
        model,
        stream,
        messages: [{ role: "user", content: "say something" }],
        max_tokens: 50,
      }),
    });
    assert.equal(answer.status, 200, answer.body.toString());
    return answer.body.toString();
  };

  test("show estimate ÷ actual, coverage, and held ÷ actual, by model (E1, E2, E3)", async () => {
    let used = 0;
    for (let i = 0; i < 5; i++) {
      const { usage } = JSON.parse(await call(i % 2 === 0 ? "fast" : "gpt-4o-mini")) as {
        usage: { total_tokens: number };
      };
      used += usage.total_tokens;
    }
    await call("gpt-4o-mini", true);
    const model = 'model="gpt-4o-mini"';
    assert.equal(await under.metric(`sluice_estimate_ratio_count{kind="input",${model}}`), 6);
    assert.equal(await under.metric(`sluice_estimate_ratio_count{kind="output",${model}}`), 6);
    const ratio = (await under.metric(`sluice_estimate_ratio_sum{kind="input",${model}}`)) / 6;
    assert.ok(ratio > 0.2 && ratio < 5, `${ratio}`);
    const covered = await under.metric(`sluice_holds_total{${model},covered="yes"}`);
    const missed = await under.metric(`sluice_holds_total{${model},covered="no"}`);
    assert.equal(covered + missed, 6);
    assert.ok(covered >= 5, "fifty were held for twenty, and later twenty");
    const usedTokens = await under.metric(`sluice_used_tokens_total{${model}}`);
    assert.ok(usedTokens > used && usedTokens < used * 1.5, `${usedTokens}, ${used} without the stream`);
    const held = await under.metric(`sluice_held_tokens_total{${model}}`);
    assert.ok(held >= usedTokens * 0.9 && held < usedTokens * 4, `${held}`);
  });

  test("have a bounded number of labels, whatever models clients make up (X5)", async () => {
    for (let i = 0; i < 60; i++) await call(`made-up-${i}`);
    await call("fast");
    const page = await (await fetch(`${under.url}/metrics`)).text();
    const models = new Set(
      [...page.matchAll(/sluice_holds_total\{model="([^"]*)"/g)].map(([, model]) => model),
    );
    assert.ok(models.size <= 34, `${models.size}`);
    assert.ok(models.has("other") && models.has("gpt-4o-mini"));
    assert.equal(
      await under.metric('sluice_estimate_ratio_count{kind="input",model="gpt-4o-mini"}'),
      7,
      "a configured model keeps its name",
    );
  });
});
