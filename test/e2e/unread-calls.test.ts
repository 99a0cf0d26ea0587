import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";

const YAML = `
plans:
  strict: { when_limited: reject, unread_calls: refuse, limits: [{ meter: requests, limit: 1000, per: 1h }, { meter: cost, limit: 10, per: day }] }
  open: { when_limited: reject, limits: [{ meter: requests, limit: 1000, per: 1h }, { meter: cost, limit: 10, per: day }] }
identity:
  keys:
    - { key: key-of-strict, user: strict, plan: strict }
    - { key: key-of-open, user: open, plan: open }
`;
const BATCH = {
  input_file_id: "file-1",
  endpoint: "/v1/chat/completions",
  completion_window: "24h",
} as const;

describe("a plan with unread_calls: refuse", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML });
  });
  after(() => under.close());

  /** What the provider got of a call to `path`: nothing, where the gateway refused it. */
  const reaches = async (key: string, path: string, method = "POST") => {
    const { requests } = under.provider.stats;
    await rawCall(under.url, {
      path,
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(method === "POST" && { body: "{}" }),
    });
    return under.provider.stats.requests - requests;
  };

  test("refuses what limits on cost could not count, before the provider, with nothing charged (E6)", async () => {
    const openai = new OpenAI({ apiKey: "key-of-strict", baseURL: `${under.url}/v1`, maxRetries: 0 });
    const anthropic = new Anthropic({ apiKey: "key-of-strict", baseURL: under.url, maxRetries: 0 });
    const { requests } = under.provider.stats;
    await assert.rejects(openai.batches.create(BATCH), (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError, String(error));
      assert.match(error.message, /plan "strict" .* \(`unread_calls`\)/);
      return true;
    });
    await assert.rejects(anthropic.messages.batches.create({ requests: [] }), Anthropic.BadRequestError);
    for (const path of [
      "/v1/images/generations",
      "/v1//BATCHES/",
      "/v1/batches?x=/b/cancel",
      "/v1/batches%3f/cancel",
      "/openai/deployments/files/chat/completions",
      "/v1/nobody-knows",
    ]) {
      assert.equal(await reaches("key-of-strict", path), 0, path);
    }
    // Lenient hosts may take them for the POST.
    for (const method of ["PUT", "PATCH"]) {
      assert.equal(await reaches("key-of-strict", "/v1/chat/completions", method), 0, method);
    }
    assert.equal(under.provider.stats.requests, requests);
    for (const { used, held } of await limitsPage(under.url, "key-of-strict")) assert.equal(used + held, 0);
    assert.equal(await under.metric("sluice_calls_unread_total"), 0);
  });

  test("passes on what nobody is paid for: uploads, looks, cancellations; and all of it for other plans (E6)", async () => {
    for (const path of ["/v1/files", "/v1/moderations", "/v1/batches/batch_1/cancel"]) {
      assert.equal(await reaches("key-of-strict", path), 1, path);
    }
    for (const [path, method] of [
      ["/v1/batches/batch_1", "GET"],
      ["/v1/files/file-1", "DELETE"],
    ] as const) {
      assert.equal(await reaches("key-of-strict", path, method), 1, path);
    }
    assert.equal(await under.metric("sluice_calls_unread_total"), 0);
    assert.equal(await reaches("key-of-open", "/v1/batches"), 1);
    assert.equal(await under.metric('sluice_calls_unread_total{path="batches"}'), 1);
  });
});
