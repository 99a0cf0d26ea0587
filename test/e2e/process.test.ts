import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { type ReplayProvider, startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { freePort } from "../support/free-port.ts";
import { until } from "../support/until.ts";

const MAIN = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");

interface LimitsPage {
  readonly limits: readonly { readonly name: string; readonly used: number; readonly held: number }[];
}

const configuration = (port: number, providerUrl: string, requests = 100) => `
listen: 127.0.0.1:${port}
admin: "off"
store: embedded:./state
providers:
  openai: { base_url: "${providerUrl}", accounts: [{ name: main, key: provider-key }] }
plans:
  free:
    when_limited: reject
    limits:
      - { meter: requests, limit: ${requests}, per: 1h }
      - { meter: tokens, limit: 100000, per: 1h }
      - { meter: concurrency, limit: 2 }
identity:
  keys: [{ key: key-of-alice, user: alice, plan: free }]
bounds: { shutdown_timeout: 10s }
`;

/** A gateway as a process of its own, the way it is run. */
class GatewayProcess {
  readonly url: string;
  readonly child: ChildProcess;
  readonly output: string[] = [];

  private constructor(child: ChildProcess, port: number) {
    this.child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(file: string, port: number): Promise<GatewayProcess> {
    const child = spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", MAIN, "serve", "--config", file],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    const started = new GatewayProcess(child, port);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on("line", (line) => started.output.push(line));
    }
    await started.#ready();
    return started;
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (Date.now() < deadline) {
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      if (this.child.exitCode !== null) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.fail(`the gateway did not start:\n${this.output.join("\n")}`);
  }

  async stop(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const exited = once(this.child, "exit");
    this.child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }

  call(init: RequestInit & { readonly stream?: boolean } = {}): Promise<Response> {
    return fetch(`${this.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: "Bearer key-of-alice",
        "content-type": "application/json",
        ...(init.headers ?? {}),
      },
      body: JSON.stringify({
        model: "gpt-4o-mini",
        messages: [{ role: "user", content: "hello" }],
        max_tokens: 40,
        ...(init.stream ? { stream: true } : {}),
      }),
      ...(init.signal ? { signal: init.signal } : {}),
    });
  }

  async limits(): Promise<Record<string, { used: number; held: number }>> {
    const answer = await fetch(`${this.url}/sluice/v1/limits`, { headers: { "x-api-key": "key-of-alice" } });
    const page = (await answer.json()) as LimitsPage;
    return Object.fromEntries(page.limits.map(({ name, used, held }) => [name, { used, held }]));
  }
}

describe("the gateway as a process", () => {
  let provider: ReplayProvider;
  let directory: string;
  let port: number;
  let file: string;
  const running: GatewayProcess[] = [];
  const start = async () => {
    const gateway = await GatewayProcess.start(file, port);
    running.push(gateway);
    return gateway;
  };

  before(async () => {
    provider = await startReplayProvider();
    directory = mkdtempSync(join(tmpdir(), "sluice-process-"));
    port = await freePort();
    file = join(directory, "sluice.yaml");
    writeFileSync(file, configuration(port, provider.url));
  });
  after(async () => {
    for (const gateway of running) await gateway.stop("SIGKILL");
    await provider.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test("a gateway that is killed finds its counters again, and gives the concurrency back (X6, L9)", async () => {
    const first = await start();
    const { usage } = (await (await first.call()).json()) as { usage: { total_tokens: number } };
    provider.switches.set({ hang: true });
    const lost = [first.call(), first.call()].map((call) => call.catch(() => undefined));
    // Both are held once the provider has them.
    while ((await first.limits()).concurrency.held < 2) await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await first.call()).status, 429);
    const before = await first.limits();
    assert.equal(before["tokens-1h"].used, usage.total_tokens);
    await first.stop("SIGKILL");
    await Promise.all(lost);
    provider.switches.reset();

    const second = await start();
    const after = await second.limits();
    assert.deepEqual(after["tokens-1h"], before["tokens-1h"]);
    assert.deepEqual(after["requests-1h"], before["requests-1h"]);
    assert.equal(after.concurrency.held, 0);
    assert.equal((await second.call()).status, 200);
    assert.equal(await second.stop("SIGTERM"), 0);
  });

  test("SIGTERM lets a stream finish, settles it, takes no new calls, and exits with 0 (X6)", async () => {
    const gateway = await start();
    const used = (await gateway.limits())["tokens-1h"].used;
    provider.switches.set({ chunkIntervalMs: 20 });
    const answer = await gateway.call({ stream: true });
    const reader = answer.body?.getReader();
    assert.ok(reader);
    await reader.read();
    const stopped = gateway.stop("SIGTERM");
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += Buffer.from(value).toString();
    }
    assert.match(text, /data: \[DONE\]/);
    assert.equal(await stopped, 0);
    provider.switches.reset();
    await assert.rejects(gateway.call());
    const next = await start();
    const after = (await next.limits())["tokens-1h"];
    assert.ok(after.used > used);
    await next.stop("SIGTERM");
  });

  test("a changed file applies without a restart and keeps the counters; a bad one changes nothing", async () => {
    const gateway = await start();
    await gateway.call();
    const { used } = (await gateway.limits())["requests-1h"];
    const untilLogged = async (pattern: RegExp) => {
      const deadline = Date.now() + 20_000;
      while (!gateway.output.some((line) => pattern.test(line))) {
        assert.ok(Date.now() < deadline, gateway.output.join("\n"));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    writeFileSync(file, configuration(port, provider.url).replace("per: 1h", "per: 1 hour"));
    await untilLogged(/sluice\.yaml:\d+:\d+.*1 hour/);
    assert.equal((await gateway.call()).status, 200);
    // What needs a restart is said, also where only a password has changed.
    const restarts = () => gateway.output.filter((line) => line.includes("`store` needs a restart")).length;
    for (const [changes, password] of ["first", "other"].entries()) {
      const elsewhere = `store: redis://:${password}-password@127.0.0.1:1`;
      writeFileSync(file, configuration(port, provider.url).replace("store: embedded:./state", elsewhere));
      await until(() => restarts() === changes + 1);
    }
    assert.doesNotMatch(gateway.output.join(), /first-password|other-password/);
    const reloads = () => gateway.output.filter((line) => line.includes("is in force")).length;
    assert.equal(reloads(), 2);
    writeFileSync(file, configuration(port, provider.url, used + 1));
    await until(() => reloads() === 3);
    // One more than before the bad file, so the limit is reached now: the counter was kept.
    let refused: Response;
    do refused = await gateway.call();
    while (refused.status === 200);
    assert.equal(refused.status, 429);
    assert.match(await refused.text(), new RegExp(`of ${used + 1} requests`));
    assert.equal(await gateway.stop("SIGTERM"), 0);
    // Back to the store that is in use.
    assert.equal(restarts(), 2);
  });
});
