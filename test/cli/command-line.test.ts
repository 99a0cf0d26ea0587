import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { SluiceProcess } from "../support/sluice-process.ts";

const EXAMPLE = join(import.meta.dirname, "..", "config", "fixtures", "design-example.yaml");
const CLI = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");
const KEYS = { OPENAI_API_KEY: "Hush-openai", ANTHROPIC_API_KEY: "Hush-anthropic", ALICE_KEY: "Hush-alice" };

async function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const process = new SluiceProcess(args, environment);
  const code = await process.exitCode();
  return { code, stdout: process.stdout, stderr: process.stderr };
}

describe("sluice", () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-cli-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const fileOf = (name: string, text: string) => {
    const file = join(directory, name);
    writeFileSync(file, text);
    return file;
  };

  test("check says in plain words what the example of the design means, without its secrets (X1)", async () => {
    const { code, stdout, stderr } = await run(["check", EXAMPLE], KEYS);
    assert.equal(code, 0, stderr);
    for (const words of [
      "listens on 127.0.0.1:8080",
      "requests-1m: at most 10 requests in any 1m, per user",
      "cost-day: at most 0.5 US dollars a day, from midnight in Europe/Vienna, per user",
      "models without a known price: refused by limits on cost",
      "summarize: at most 60,000 tokens in any 1h, per feature and user; only for feature summarize",
      "SHADOW",
      "key alice: user alice, plan free, team research",
      "everybody else is refused",
      "a call over a limit waits for its turn, 20s at most",
    ]) {
      assert.ok(stdout.includes(words), `${words} is missing in:\n${stdout}`);
    }
    assert.doesNotMatch(stdout + stderr, /Hush/);
  });

  test("check says of each plan what becomes of a call over a limit", async () => {
    const file = fileOf(
      "plans.yaml",
      `
providers: { openai: { accounts: [{ name: main, key: "${KEYS.OPENAI_API_KEY}" }] } }
plans:
  patient: { max_wait: 5s, keepalive: true }
  hasty: { when_limited: reject }
bounds: { waiting_max: 50 }
min_share: { high: 0.2, normal: 0, low: 0.1 }
aliases: { fast: gpt-4o-mini }
identity: { keys: [{ key: "${KEYS.ALICE_KEY}", user: alice, plan: patient }, { key: Hush-bob, user: bob, plan: hasty }] }
`,
    );
    const { stdout, stderr } = await run(["check", file]);
    assert.equal(stderr, "");
    assert.match(stdout, /patient: .*waits for its turn, 5s at most, streams with comments while they wait/);
    assert.match(stdout, /hasty: .*is refused at once/);
    assert.match(stdout, /up to 50 calls wait, 100 of a user/);
    assert.match(stdout, /could take it: high 20 %, low 10 %\n/);
    assert.match(stdout, /fast stands for gpt-4o-mini/);
  });

  test("check says of a cluster spread over several hash tags that no call waits there", async () => {
    const of = (query: string) =>
      run([
        "check",
        fileOf(
          "cluster.yaml",
          `
store: redis-cluster://sluice:Hush-store@[::1]:7000,b:7001${query}
providers: { openai: { accounts: [{ name: main, key: "${KEYS.OPENAI_API_KEY}" }] } }
plans: { a: {} }
`,
        ),
      ]);
    const spread = await of("?realms=8&tls=true");
    assert.match(
      spread.stdout,
      /counts in Redis at redis-cluster:\/\/\[::1\]:7000,b:7001\?realms=8&tls=true, .*refused instead of waiting/,
    );
    assert.doesNotMatch(spread.stdout + spread.stderr, /Hush|calls wait/);
    assert.doesNotMatch((await of("")).stdout, /instead of waiting/);
    const misspelt = await of("?relams=8");
    assert.equal(misspelt.code, 2);
    assert.match(misspelt.stderr, /cluster\.yaml:2:8: store: .*\?realms=N&tls=true/);
  });

  test("check does not say of a limit in shadow mode that it refuses anything", async () => {
    const file = fileOf(
      "shadow.yaml",
      `
providers: { openai: { accounts: [{ name: main, key: "${KEYS.OPENAI_API_KEY}" }] } }
plans: { a: { limits: [{ meter: cost, limit: 1, per: day, mode: shadow }] } }
identity: { keys: [{ key: "${KEYS.ALICE_KEY}", user: alice, plan: a }] }
`,
    );
    const { stdout } = await run(["check", file]);
    assert.match(stdout, /SHADOW/);
    assert.doesNotMatch(stdout, /refuses/);
  });

  test("start says which calls go to a real provider, and what only one of them has a key for comes from recordings", async () => {
    const started = async (environment: Readonly<Record<string, string>>) => {
      const process = new SluiceProcess(["start", "--listen", "127.0.0.1:0"], environment, directory);
      try {
        const [, url, where] = await process.line(/^Sluice listens on (\S+), (.*)\.$/);
        const answer = await fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: "Bearer sluice-free", "content-type": "application/json" },
          body: JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hello!" }] }),
        });
        return [where, answer.status];
      } finally {
        process.kill("SIGTERM");
        await process.exitCode();
      }
    };
    assert.deepEqual(await started({ ANTHROPIC_API_KEY: "Hush-anthropic" }), [
      "in front of recordings of openai and the real anthropic (ANTHROPIC_API_KEY is set, calls cost money)",
      200,
    ]);
    assert.deepEqual(await started({}), ["in front of a bundled provider that answers from recordings", 200]);
  });

  test("check ends in peace when nobody reads on, as before `head`", async () => {
    const child = spawn(process.execPath, [CLI, "check", EXAMPLE], { env: { ...process.env, ...KEYS } });
    child.stdout.destroy();
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const [code] = await once(child, "close");
    assert.equal(code, 0);
    assert.doesNotMatch(stderr, /EPIPE/);
  });

  test("check names every problem with its place, for people and for programs", async () => {
    const file = fileOf(
      "bad.yaml",
      "plans:\n  free:\n    limits:\n      - { meter: requests, limit: 0, pr: 1m }\n",
    );
    const people = await run(["check", file]);
    assert.equal(people.code, 2);
    assert.match(
      people.stderr,
      /bad\.yaml:4:35: plans\.free\.limits\[0\]\.limit: found 0; allowed: a number above 0/,
    );
    assert.match(
      people.stderr,
      /bad\.yaml:4:38: plans\.free\.limits\[0\]\.pr: unknown key "pr"; did you mean "per"\?/,
    );
    assert.doesNotMatch(people.stderr, /^\s+at /m);
    const programs = await run(["check", "--json", file]);
    assert.equal(programs.code, 2);
    const { valid, problems } = JSON.parse(programs.stdout) as {
      valid: boolean;
      problems: { line: number }[];
    };
    assert.equal(valid, false);
    assert.deepEqual([...new Set(problems.map(({ line }) => line))], [4]);
    assert.equal(JSON.parse((await run(["check", "--json", EXAMPLE], KEYS)).stdout).valid, true);
  });

  test("check and serve refuse a file that is not there with a sentence", async () => {
    for (const args of [
      ["check", "none.yaml"],
      ["serve", "--config", "none.yaml"],
    ]) {
      const { code, stderr } = await run(args);
      assert.equal(code, 2);
      assert.equal(stderr.trim(), "none.yaml: there is no such file");
    }
  });

  test("node scripts/run.mjs sluice takes names of files from where it is called", async () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      [join(import.meta.dirname, "..", "..", "scripts", "run.mjs"), "sluice", "check", basename(EXAMPLE)],
      { cwd: dirname(EXAMPLE), env: { ...process.env, ...KEYS }, encoding: "utf8" },
    );
    assert.equal(status, 0);
    assert.match(stdout, /is valid/);
  });

  test("--version says which one it is", async () => {
    const { code, stdout } = await run(["--version"]);
    assert.equal(code, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test("wrong command lines exit with 2 and say what is wrong", async () => {
    for (const args of [
      ["nope"],
      ["check"],
      ["serve"],
      ["serve", "--config", EXAMPLE, "--listen", "x"],
      ["replay-provider", "--limits", "x"],
      ["replay-provider", "--port", "99999"],
      ["replay-provider", "--port", "abc"],
    ]) {
      const { code, stderr } = await run(args, KEYS);
      assert.equal(code, 2, args.join(" "));
      assert.notEqual(stderr, "");
      assert.doesNotMatch(stderr, /^\s+at /m);
    }
    assert.equal((await run(["--help"])).code, 0);
    assert.equal((await run(["serve", "--help"])).code, 0);
  });

  test("start runs the demonstration with nothing configured, admits and refuses, and ends on SIGTERM (X6)", async () => {
    const process = new SluiceProcess(["start", "--listen", "127.0.0.1:0"], {}, directory);
    try {
      const [, url] = await process.line(/^Sluice listens on (http:\/\/127\.0\.0\.1:\d+)/);
      const ask = (key: string) =>
        fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hello!" }] }),
        });
      const first = await ask("sluice-free");
      assert.equal(first.status, 200, await first.text());
      // The first call's guess must not take the whole limit (E5).
      assert.equal((await ask("sluice-free")).status, 200);
      assert.equal((await ask("sluice-premium")).status, 200);
      assert.equal((await ask("nobody")).status, 401);
      const statuses: number[] = [];
      for (let i = 0; i < 12; i++) statuses.push((await ask("sluice-free")).status);
      assert.ok(statuses.includes(429), statuses.join());
    } finally {
      process.kill("SIGTERM");
    }
    assert.equal(await process.exitCode(), 0, process.stderr);
  });

  test("start and replay-provider say in a sentence that a port is taken, and exit with 1", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    assert.ok(typeof address === "object" && address !== null);
    for (const args of [
      ["start", "--listen", `127.0.0.1:${address.port}`],
      ["replay-provider", "--port", String(address.port)],
    ]) {
      const { code, stderr } = await run(args, KEYS);
      assert.equal(code, 1);
      assert.match(stderr, /is taken/);
      assert.doesNotMatch(stderr, /^\s+at /m);
    }
    taken.close();
  });
});
