import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { limitsPage } from "../support/limits-page.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { SluiceProcess } from "../support/sluice-process.ts";
import { until } from "../support/until.ts";

/** Two gateways on one store count the same limits, so each has a caller of its own. */
const KEYS = ["key-of-ann", "key-of-ben", "key-of-cleo"] as const;
const YAML = `
plans:
  p:
    when_limited: reject
    limits:
      - { meter: input_tokens, limit: 1000000000, per: 1h }
      - { meter: output_tokens, limit: 1000000000, per: 1h }
identity:
  keys:
${KEYS.map((key) => `    - { key: ${key}, user: ${key}, plan: p }`).join("\n")}
`;

/** Enough that every estimate goes by what was seen. */
const CALLS = 200;
const OUTPUT_TOKENS = 20;
/** What one gateway has learned is told every ten seconds, and read as often: twice that, on a machine that is busy. */
const TOLD_MS_MAX = 60_000;

const BODY = JSON.stringify({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Write a line about the weather in Vienna. ".repeat(20) }],
});

interface Gateway {
  readonly url: string;
}

const chat = (url: string, key: string, headers: Readonly<Record<string, string>>, signal?: AbortSignal) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: BODY,
    ...(signal !== undefined && { signal }),
  });

/** Calls that write far less than a call without a maximum is expected to while nobody knows better. */
async function serveCalls({ url }: Gateway, key: string): Promise<void> {
  for (let call = 0; call < CALLS; call++) {
    const answer = await chat(url, key, { "x-replay-output-tokens": String(OUTPUT_TOKENS) });
    assert.equal(answer.status, 200, await answer.text());
  }
}

/** What the gateway holds for the next call; the caller has no other. */
async function holdOf({ url }: Gateway, key: string): Promise<Readonly<Record<string, number>>> {
  const hangUp = new AbortController();
  const call = chat(url, key, { "x-replay-hang": "true" }, hangUp.signal).catch(() => undefined);
  const holds = async () =>
    Object.fromEntries((await limitsPage(url, key)).map(({ meter, held }) => [meter, held]));
  await until(async () => (await holds()).input_tokens > 0);
  const held = await holds();
  hangUp.abort();
  await call;
  await until(async () => (await holds()).input_tokens === 0);
  return held;
}

const isLearned = ({ output_tokens }: Readonly<Record<string, number>>) =>
  output_tokens >= OUTPUT_TOKENS && output_tokens <= 2 * OUTPUT_TOKENS;

function assertLearned(
  held: Readonly<Record<string, number>>,
  teacher: Readonly<Record<string, number>>,
): void {
  assert.ok(isLearned(held), `held ${JSON.stringify(held)}`);
  assert.equal(held.input_tokens, teacher.input_tokens, "the input is corrected alike");
}

const closedAfter = (t: TestContext, gateway: GatewayUnderTest) => {
  let isOpen = true;
  const close = async () => {
    if (isOpen) await gateway.close();
    isOpen = false;
  };
  t.after(close);
  return { ...gateway, close };
};

test("gateways on one Redis share what one has learned: one that starts later from its first call, one that runs within seconds (E1, E2)", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const provider = await startReplayProvider({ recordings: [] });
  t.after(() => provider.close());
  const start = async () =>
    closedAfter(t, await startGatewayUnderTest({ yaml: YAML, store: server.url, provider }));
  const [teacher, running] = [await start(), await start()];
  const untaught = await holdOf(running, KEYS[1]);
  assert.ok(untaught.output_tokens > 10 * OUTPUT_TOKENS, `held ${JSON.stringify(untaught)}`);
  await serveCalls(teacher, KEYS[0]);
  const known = await holdOf(teacher, KEYS[0]);
  assert.ok(isLearned(known), `held ${JSON.stringify(known)}`);
  assert.notEqual(known.input_tokens, untaught.input_tokens, "the input estimate has changed too");
  // Before the teacher ends: it need not, for others to learn.
  await until(async () => isLearned(await holdOf(running, KEYS[1])), TOLD_MS_MAX);
  assertLearned(await holdOf(running, KEYS[1]), known);
  const later = await start();
  assertLearned(await holdOf(later, KEYS[2]), known);
});

test("a gateway on the embedded store knows after a restart what it had learned, from its first call (E1, E2)", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-estimates-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const start = async () =>
    closedAfter(t, await startGatewayUnderTest({ yaml: YAML, store: `embedded:${directory}` }));
  const first = await start();
  await serveCalls(first, KEYS[0]);
  const known = await holdOf(first, KEYS[0]);
  // What it has learned since it last told is told at the end.
  await first.close();
  assertLearned(await holdOf(await start(), KEYS[0]), known);
});

test("what a killed gateway had told its embedded store is known to its successor (E1, E2)", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-estimates-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const provider = await startReplayProvider({ recordings: [] });
  t.after(() => provider.close());
  const file = join(directory, "sluice.yaml");
  writeFileSync(
    file,
    `listen: 127.0.0.1:0\nadmin: "off"\nstore: embedded:./state\nproviders: { openai: { base_url: "${provider.url}", accounts: [{ name: main, key: k }] } }\n${YAML}`,
  );
  const start = async () => {
    const started = new SluiceProcess(["serve", "--config", file]);
    t.after(() => started.kill("SIGKILL"));
    const [, url] = await started.line(/(http:\/\/127\.0\.0\.1:\d+)/);
    return { url: url as string, started };
  };
  const first = await start();
  await serveCalls(first, KEYS[0]);
  const known = await holdOf(first, KEYS[0]);
  // Its database is its own while it runs; what it has told is text in the files.
  const state = join(directory, "state");
  const isTold = () =>
    readdirSync(state).some((name) =>
      readFileSync(join(state, name)).includes('"shape":"chat_completions/text"'),
    );
  await until(isTold, TOLD_MS_MAX);
  first.started.kill("SIGKILL");
  await first.started.exitCode();
  assertLearned(await holdOf(await start(), KEYS[0]), known);
});
