import assert from "node:assert/strict";
import { test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { startGatewayUnderTest } from "../support/running-gateway.ts";

const KEY = "key-of-alice";
const YAML = `
plans:
  all:
    when_limited: reject
    limits:
      - { name: dear-calls, meter: requests, limit: 2, per: 1h, match: { model: "GPT-dear*" } }
      - { name: money, meter: cost, limit: 100, per: day }
prices: [{ model: "GPT-dear*", input: 0, output: 0, request: 1 }]
identity: { keys: [{ key: ${KEY}, user: alice, plan: all }] }
`;

test("nobody escapes a limit or a price by writing a model's name in another way (E6)", async (t) => {
  const under = await startGatewayUnderTest({ yaml: YAML });
  t.after(() => under.close());
  const call = async (model: string) => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], max_tokens: 1 });
    const headers = { "content-type": "application/json", authorization: `Bearer ${KEY}` };
    const answer = await rawCall(under.url, { path: "/v1/chat/completions", headers, body });
    // The provider gets the name as it came.
    const sent = under.provider.requests.at(-1)?.body.toString() ?? "";
    return answer.status === 429 ? 429 : sent.includes(JSON.stringify(model)) && answer.status;
  };
  assert.equal(await call("GPT-DEAR-1"), 200);
  assert.equal(await call(" gpt-dear-1\t"), 200);
  assert.equal(await call("gpt-Dear-2"), 429);
  const used = Object.fromEntries((await limitsPage(under.url, KEY)).map(({ name, used }) => [name, used]));
  assert.deepEqual(used, { money: 2 });
});
