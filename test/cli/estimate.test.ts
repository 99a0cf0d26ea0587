import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { SluiceProcess } from "../support/sluice-process.ts";

const CONFIGURATION = `
providers:
  openai: { accounts: [{ name: main, key: abcdefgh }] }
prices: [{ model: "gpt-*", input: 1, output: 10 }]
plans:
  free:
    when_limited: reject
    limits:
      - { meter: requests, limit: 10, per: 1m }
      - { meter: tokens, limit: 1000, per: 1m }
      - { meter: cost, limit: 0.50, per: day }
identity:
  keys: [{ key: abcdefgh12, user: a, plan: free }]
`;
const CHAT =
  '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello, how are you?"}],"max_tokens":50}';

describe("sluice estimate", () => {
  let directory: string;
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-estimate-"));
    file("sluice.yaml", CONFIGURATION);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const run = async (...args: readonly string[]) => {
    const process = new SluiceProcess(["estimate", ...args], {}, directory);
    const code = await process.exitCode();
    assert.doesNotMatch(process.stderr, /^\s+at /m);
    return { code, stdout: process.stdout, stderr: process.stderr };
  };

  test("says the input, the output, the cost and what a plan would hold", async () => {
    const body = file("chat.json", CHAT);
    const { code, stdout } = await run(body, "--config", "sluice.yaml", "--plan", "free", "--json");
    assert.equal(code, 0);
    const shown = JSON.parse(stdout) as {
      input_tokens: number;
      cost_nano_usd: number;
      holds: { limit: string; hold: number }[];
    };
    assert.ok(shown.input_tokens >= 11 && shown.input_tokens <= 15, `${shown.input_tokens}`);
    assert.equal(shown.cost_nano_usd, shown.input_tokens * 1_000 + 50 * 10_000);
    assert.deepEqual(
      shown.holds.map(({ limit, hold }) => [limit, hold]),
      [
        ["requests-1m", 1],
        ["tokens-1m", shown.input_tokens + 50],
        ["cost-day", shown.cost_nano_usd],
      ],
    );
    const text = await run(body, "--config", "sluice.yaml", "--plan", "free");
    assert.match(text.stdout, /tokens-1m: \d+ of 1,000/);
  });

  test("tells messages, responses and embeddings by their bodies", async () => {
    const bodies = {
      messages:
        '{"model":"claude-3-5-haiku-latest","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}',
      responses: '{"model":"gpt-4o-mini","input":"hi"}',
      embeddings: '{"model":"text-embedding-3-small","input":"hi"}',
      completions: '{"model":"gpt-3.5-turbo-instruct","prompt":"hi"}',
    };
    for (const [endpoint, body] of Object.entries(bodies)) {
      const { stdout } = await run(file(`${endpoint}.json`, body), "--json");
      const shown = JSON.parse(stdout) as { endpoint: string; cost_nano_usd: number };
      assert.equal(shown.endpoint, endpoint);
      assert.ok(shown.cost_nano_usd > 0, endpoint);
    }
  });

  test("says which plans there are, and that they are in a configuration", async () => {
    const body = file("chat.json", CHAT);
    const unknown = await run(body, "--config", "sluice.yaml", "--plan", "fre");
    assert.deepEqual(
      [unknown.code, unknown.stderr],
      [2, '--plan: there is no plan "fre" in sluice.yaml; there are: free\n'],
    );
    const nowhere = await run(body, "--plan", "free");
    assert.deepEqual([nowhere.code, /--config is needed/.test(nowhere.stderr)], [2, true]);
  });

  test("says in one sentence what is wrong, and exits with 1 or 2", async () => {
    const broken = await run(file("broken.json", '{"model'));
    assert.deepEqual([broken.code, broken.stdout], [1, ""]);
    assert.match(broken.stderr, /broken\.json: .*JSON/);
    const missing = await run(join(directory, "missing.json"));
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /cannot be read/);
  });
});
