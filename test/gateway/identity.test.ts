import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { request } from "node:http";
import { after, before, describe, test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const YAML = (from: string) => `
plans:
  free: { when_limited: reject, limits: [{ meter: requests, limit: 100, per: 1h }] }
  premium: { when_limited: reject, limits: [{ meter: requests, limit: 1000, per: 1h }] }
identity:
  default_plan: free
  anonymous: free
  keys:
    - { key: key-of-alice, user: alice, plan: premium }
    - { key_sha256: ${sha256("hashed-key-of-dora")}, user: dora, plan: premium }
  trusted_headers: { from: ["${from}"], user: x-consumer-username, plan: x-consumer-groups, feature: x-feature }
`;

const whoIs = async (url: string, headers: Readonly<Record<string, string>>) => {
  const { body } = await rawCall(url, { method: "GET", path: "/sluice/v1/limits", headers });
  const { user, plan } = JSON.parse(body.toString()) as { user: string; plan: string };
  return `${user} ${plan}`;
};

const CHAT = JSON.stringify({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "hi" }],
  max_tokens: 5,
});
const chat = (url: string, headers: Readonly<Record<string, string>>) =>
  rawCall(url, {
    path: "/v1/chat/completions",
    headers: { "content-type": "application/json", ...headers },
    body: CHAT,
  });

describe("who calls, from an address that is trusted", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML("127.0.0.0/8") });
  });
  after(() => under.close());

  test("headers name the user, and the first group that is a plan (X2)", async () => {
    assert.equal(
      await whoIs(under.url, { "x-consumer-username": "eve", "x-consumer-groups": "staff, premium, free" }),
      "eve premium",
    );
    assert.equal(await whoIs(under.url, { "x-consumer-username": "eve" }), "eve free");
  });

  test("a header that stands twice names nobody: a proxy may have added to what the client sent (X2)", async () => {
    const statusOf = (headers: readonly string[]) =>
      new Promise<number | undefined>((resolve, reject) => {
        const { hostname, port } = new URL(under.url);
        request({ hostname, port, path: "/sluice/v1/limits", headers: [...headers, "host", "x"] }, (answer) =>
          resolve(answer.resume().statusCode),
        )
          .on("error", reject)
          .end();
      });
    const eve = ["x-consumer-username", "eve"];
    assert.equal(await statusOf(eve), 200);
    assert.equal(await statusOf(["x-consumer-username", "admin", ...eve]), 400);
    assert.equal(
      await statusOf([...eve, "x-consumer-groups", "premium", "x-consumer-groups", "free"]),
      400,
      "a plan",
    );
  });

  test("headers with identities do not reach the provider (X2)", async () => {
    await chat(under.url, {
      "x-consumer-username": "eve-the-user",
      "x-forwarded-for": "10.1.2.3",
      cookie: "a=b",
    });
    const seen = JSON.stringify(under.provider.requests.at(-1));
    assert.doesNotMatch(seen, /eve-the-user|x-consumer|10\.1\.2\.3|cookie/i);
  });
});

describe("who calls, from an address that is not trusted", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: YAML("203.0.113.0/24") });
  });
  after(() => under.close());

  test("headers are not believed, and are stripped all the same (X2)", async () => {
    const forged = { "x-consumer-username": "admin-user", "x-consumer-groups": "premium" };
    assert.equal(await whoIs(under.url, forged), "anonymous@127.0.0.1 free");
    assert.equal(await whoIs(under.url, { ...forged, "x-api-key": "key-of-alice" }), "alice premium");
    await chat(under.url, forged);
    assert.doesNotMatch(JSON.stringify(under.provider.requests.at(-1)), /admin-user/);
  });

  test("keys are known by their hash, in either header (X1)", async () => {
    assert.equal(await whoIs(under.url, { authorization: "Bearer hashed-key-of-dora" }), "dora premium");
    assert.equal(await whoIs(under.url, { "x-api-key": "hashed-key-of-dora" }), "dora premium");
    assert.equal(
      await whoIs(under.url, { authorization: `Bearer ${sha256("hashed-key-of-dora")}` }),
      "anonymous@127.0.0.1 free",
    );
  });

  test("neither prompts nor keys are in any log line, metric or error (X1, X4)", async () => {
    const body = (content: unknown) =>
      JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content }], max_tokens: 5 });
    const call = (text: string, key: string) =>
      rawCall(under.url, {
        path: "/v1/chat/completions",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: text,
      });
    const answers = [
      await call(body("PROMPT-MARKER"), "key-of-alice"),
      await call(`${body("PROMPT-MARKER")}}`, "key-of-alice"),
      await call(body("PROMPT-MARKER"), "unknown-KEY-MARKER"),
    ];
    under.provider.switches.set({ garbage: true });
    answers.push(await call(body("PROMPT-MARKER"), "key-of-alice"));
    under.provider.switches.reset();
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 400, 200, 502],
    );
    const { body: metrics } = await rawCall(under.url, { method: "GET", path: "/metrics" });
    const errors = answers.filter(({ status }) => status >= 400).map(({ body }) => body.toString());
    const told = [...under.lines, metrics.toString(), ...errors].join("\n");
    assert.doesNotMatch(told, /PROMPT-MARKER|KEY-MARKER|key-of-alice|provider-secret/);
  });

  test("metrics do not grow with users, models or paths (X5)", async () => {
    const series = async () =>
      (await rawCall(under.url, { method: "GET", path: "/metrics" })).body.toString().match(/^sluice_/gm)
        ?.length ?? 0;
    await chat(under.url, {});
    const before = await series();
    for (let i = 0; i < 50; i++) {
      await rawCall(under.url, {
        path: `/v1/random-${i}/path?x=${i}`,
        headers: { "x-api-key": `random-key-${i}`, "content-type": "application/json" },
        body: JSON.stringify({ model: `model-${i}` }),
      });
    }
    assert.ok((await series()) <= before + 5);
  });
});
