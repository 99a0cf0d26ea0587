import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import {
  readLimits,
  readSwitches,
  runReplayProvider,
} from "../../src/replay-provider/run-replay-provider.ts";

const provider = await startReplayProvider();
after(() => provider.close());
beforeEach(() => provider.switches.reset());

const OPENAI = "/v1/chat/completions";
const ANTHROPIC = "/v1/messages";

async function call(path: string, headers: Readonly<Record<string, string>> = {}) {
  const answer = await fetch(`${provider.url}${path}`, {
    method: "POST",
    headers: { authorization: "Bearer test", ...headers },
    body: JSON.stringify({ model: "m", max_tokens: 5, messages: [{ role: "user", content: "Hello" }] }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text };
}

async function control(method: string, path: string, body?: unknown) {
  const answer = await fetch(`${provider.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
}

test("failStatus answers with the provider's own errors", async () => {
  const typeOf = (text: string) => (JSON.parse(text) as { error: { type: string } }).error.type;
  const expected: readonly (readonly [status: number, path: string, type: string])[] = [
    [401, OPENAI, "invalid_request_error"],
    [401, ANTHROPIC, "authentication_error"],
    [429, OPENAI, "requests"],
    [429, ANTHROPIC, "rate_limit_error"],
    [500, OPENAI, "server_error"],
    [500, ANTHROPIC, "api_error"],
    [529, ANTHROPIC, "overloaded_error"],
  ];
  for (const [status, path, type] of expected) {
    const answer = await call(path, { "x-replay-fail-status": String(status) });
    assert.deepEqual([answer.status, typeOf(answer.text)], [status, type]);
  }
  const edge = await call(OPENAI, { "x-replay-fail-status": "502" });
  assert.equal(edge.headers.get("content-type"), "text/html");
});

test("failStatus 429 says when to come back, and a used-up quota does not", async () => {
  provider.switches.set({ failStatus: 429, retryAfterMs: 1500 });
  const openai = await call(OPENAI);
  assert.deepEqual([openai.headers.get("retry-after"), openai.headers.get("retry-after-ms")], ["2", "1500"]);
  const anthropic = await call(ANTHROPIC);
  assert.deepEqual(
    [anthropic.headers.get("retry-after"), anthropic.headers.get("retry-after-ms")],
    ["2", null],
  );
  const quota = await call(OPENAI, { "x-replay-fail-code": "insufficient_quota" });
  assert.match(quota.text, /exceeded your current quota.*"code":"insufficient_quota"/);
  assert.equal(quota.headers.get("retry-after"), null);
});

test("failNext fails so many calls, and failRate its share of them", async () => {
  provider.switches.set({ failNext: 2, failStatus: 503 });
  const statuses = [await call(OPENAI), await call(OPENAI), await call(OPENAI)].map(({ status }) => status);
  assert.deepEqual(statuses, [503, 503, 200]);
  provider.switches.reset();
  provider.switches.set({ failRate: 0.3, seed: 7 });
  let failed = 0;
  for (let count = 0; count < 300; count++) if ((await call(OPENAI)).status === 500) failed += 1;
  // Three standard deviations of a binomial with 300 and 0.3 are 24.
  assert.ok(Math.abs(failed - 90) <= 24, `${failed} of 300`);
});

test("latencyMs delays the answer", async () => {
  const startedAtMs = performance.now();
  await call(OPENAI, { "x-replay-latency-ms": "40" });
  assert.ok(performance.now() - startedAtMs >= 39);
});

test("PUT /replay/switches changes switches at run time, and null turns one off", async () => {
  assert.deepEqual(await control("PUT", "/replay/switches", { fail_status: 500, latency_ms: 1 }), {
    status: 200,
    json: { fail_status: 500, latency_ms: 1 },
  });
  assert.equal((await call(OPENAI)).status, 500);
  assert.deepEqual((await control("PUT", "/replay/switches", { fail_status: null })).json, { latency_ms: 1 });
  assert.equal((await call(OPENAI)).status, 200);
  assert.deepEqual((await control("DELETE", "/replay/switches")).json, {});
  assert.equal((await control("GET", "/replay/nothing")).status, 404);
  const { json } = await control("GET", "/replay/stats");
  assert.equal(json.requests, provider.stats.requests);
});

test("switches that cannot be are refused with what they may be", async () => {
  const misspelt = await control("PUT", "/replay/switches", { latency: 5 });
  assert.equal(misspelt.status, 400);
  assert.match(String(misspelt.json.error), /no switch "latency"; there are: latency_ms, /);
  const bad = await call(OPENAI, { "x-replay-chunk-bytes": "0" });
  assert.equal(bad.status, 400);
  assert.match(bad.text, /x-replay-chunk-bytes must be .*random.*or a whole number from 1/);
  assert.equal((await control("PUT", "/replay/limits", [{ meter: "money" }])).status, 400);
  assert.throws(() => readSwitches({ fail_rate: "2" }), /fail_rate must be a number from 0 to 1, not "2"/);
  assert.throws(() => readLimits("requests=60"), /write METER=AMOUNT\/WINDOW/);
});

test("startReplayProvider wants a key, and says so as the provider does", async () => {
  for (const [path, words] of [
    [OPENAI, /You didn't provide an API key/],
    [ANTHROPIC, /x-api-key header is required/],
  ] as const) {
    const answer = await fetch(`${provider.url}${path}`, { method: "POST", body: "{}" });
    assert.equal(answer.status, 401);
    assert.match(await answer.text(), words);
  }
});

test("ReplayProvider requests tells what arrived, to the byte", async () => {
  const body = '{"model":"m" ,"messages":[]}';
  await fetch(`${provider.url}${OPENAI}?a=1`, {
    method: "POST",
    headers: { "X-Api-Key": "k", "X-Odd": "y" },
    body,
  });
  const logged = provider.requests.at(-1)!;
  assert.deepEqual([logged.method, logged.url, logged.body.toString()], ["POST", `${OPENAI}?a=1`, body]);
  const names = logged.headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  assert.ok(names.includes("x-odd"));
  assert.deepEqual(logged.outcome, { kind: "synthesised" });
});

test("runReplayProvider serves the bundled recordings with what the command line says", async (t) => {
  const own = await runReplayProvider({
    limits: readLimits("requests=1/1m,tokens=90000/60s"),
    switches: readSwitches({ latency_ms: "1", fail_status: undefined }),
  });
  t.after(() => own.close());
  assert.ok(own.recordings.length > 20);
  for (const status of [200, 429]) {
    const answer = await fetch(`${own.url}${OPENAI}`, {
      method: "POST",
      headers: { authorization: "Bearer test" },
      body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hello" }] }),
    });
    await answer.bytes();
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("x-ratelimit-limit-tokens"), "90000");
  }
  assert.deepEqual(own.requests, []);
  await assert.rejects(
    runReplayProvider({ dataFile: "/nonexistent" }),
    /cannot be used as recordings: ENOENT/,
  );
});
