import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Provider, waitForUpdate } from "@pydantic/genai-prices";
import { SluiceProcess } from "../support/sluice-process.ts";

describe("sluice prices", () => {
  let directory: string;
  let server: Server;
  let url: string;
  /** What the server answers with. */
  let answer: { status: number; body: string };
  let providers: Provider[];

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "sluice-prices-"));
    providers = structuredClone((await waitForUpdate()) ?? []);
    server = createServer((_request, response) => {
      response.writeHead(answer.status).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/data.json`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true, force: true });
  });

  const run = async (...args: readonly string[]) => {
    const process = new SluiceProcess(["prices", ...args], {}, directory);
    const code = await process.exitCode();
    assert.doesNotMatch(process.stderr, /^\s+at /m);
    return { code, stdout: process.stdout, stderr: process.stderr };
  };
  const withPrice = (model: string, prices: Provider["models"][number]["prices"]) =>
    JSON.stringify(
      providers.map((provider) =>
        provider.id === "openai"
          ? {
              ...provider,
              models: provider.models.map((one) => (one.id === model ? { ...one, prices } : one)),
            }
          : provider,
      ),
    );

  test("show says what a model costs and since when, for people and for programs", async () => {
    const people = await run("show", "o3");
    assert.equal(people.code, 0, people.stderr);
    assert.match(people.stdout, /^o3 on openai\n {2}input \$2, cached \$0\.5, output \$8 per million tokens/);
    assert.match(people.stdout, /from 2025-06-10 \(now\)/);
    const programs = await run("show", "claude-sonnet-4-5", "--provider", "anthropic", "--json");
    const { prices } = JSON.parse(programs.stdout) as {
      prices: { now: { usd_per_million: { input: number }; tiers: { above_input_tokens: number }[] } }[];
    };
    assert.deepEqual(
      [prices[0].now.usd_per_million.input, prices[0].now.tiers[0].above_input_tokens],
      [3, 200_000],
    );
    // A name that does not tell whose it is.
    assert.match((await run("show", "text-embedding-3-small")).stdout, /^text-embedding-3-small on openai\n/);
    const nobody = await run("show", "nobody-knows");
    assert.equal(nobody.code, 1);
    assert.match(nobody.stderr, /^nobody knows a price of nobody-knows;/);
  });

  test("show goes by a configuration: own prices, discounts, the price of unknown models", async () => {
    const file = join(directory, "sluice.yaml");
    writeFileSync(
      file,
      `providers:
  openai: { discount: 0.15, accounts: [{ name: a, key: k }, { name: b, key: k, discount: 0 }] }
  local: { base_url: "http://127.0.0.1:9" }
prices: [{ model: mine, provider: local, input: 0.07, output: 0.1, service_tiers: { batch: 0.5, priority: 2 } }]
unknown_price: { input: 9, output: 9 }
identity: { anonymous: default }
`,
    );
    const list = await run("show", "gpt-4o-mini", "--config", file, "--provider", "openai");
    assert.match(list.stdout, /on openai\/a\n.*\n {2}less 15 %/);
    assert.doesNotMatch(list.stdout.slice(list.stdout.indexOf("openai/b")), /less/);
    const own = await run("show", "mine", "--config", file, "--provider", "local");
    assert.match(own.stdout, /^mine on local\/main\n {2}input \$0\.07, output \$0\.1 per/);
    assert.match(own.stdout, /\n {2}served as batch: 0\.5 times .*\n {2}served as priority: 2 times/);
    const ownJson = await run("show", "mine", "--config", file, "--provider", "local", "--json");
    const { prices } = JSON.parse(ownJson.stdout) as { prices: { now: { service_tiers: object } }[] };
    assert.deepEqual(prices[0]?.now.service_tiers, { batch: 0.5, priority: 2 });
    const assumed = await run("show", "nobody-knows", "--config", file);
    assert.match(assumed.stdout, /on openai\/a, assumed \(unknown_price\)\n {2}input \$9/);
    const wrong = await run("show", "x", "--config", file, "--provider", "nope");
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /there are: openai, local/);
  });

  test("update checks what it fetched, puts it in place, and show goes by it (E6)", async () => {
    answer = { status: 200, body: withPrice("gpt-4o-mini", { input_mtok: 9, output_mtok: 8 }) };
    const { code, stdout, stderr } = await run("update", "--url", url);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /prices\.json: \d+ models of \d+ providers; 0 new and 1 with other prices/);
    assert.match((await run("show", "gpt-4o-mini")).stdout, /input \$9, output \$8 per/);
  });

  test("update keeps the old prices when anything is wrong with the new ones, and says what", async () => {
    answer = { status: 200, body: withPrice("gpt-4o-mini", { input_mtok: 7, output_mtok: 7 }) };
    assert.equal((await run("update", "--url", url)).code, 0);
    const file = join(directory, ".sluice", "demo", "prices.json");
    const before = readFileSync(file, "utf8");
    const broken: readonly (readonly [number, string, RegExp])[] = [
      [500, "", /the answer is 500/],
      [200, "{", /JSON/],
      [200, "[]", /openai is missing/],
      [200, withPrice("gpt-4o-mini", { input_mtok: -1 }), /openai\/gpt-4o-mini: input_mtok: -1 is no price/],
    ];
    for (const [status, body, reason] of broken) {
      answer = { status, body };
      const { code, stderr } = await run("update", "--url", url);
      assert.equal(code, 1);
      assert.match(stderr, /^the prices could not be updated, and stay as they were: http/);
      assert.match(stderr, reason);
      assert.equal(readFileSync(file, "utf8"), before);
    }
    const programs = await run("update", "--url", url, "--json");
    assert.equal((JSON.parse(programs.stdout) as { kind: string }).kind, "failed");
    assert.equal((await run("update", "--url", "ftp://x")).code, 2);
  });
});
