import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { freePort } from "../support/free-port.ts";
import { until } from "../support/until.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** Starts a gateway by a command in a group of its own, whatever is left of which is ended after the test. */
async function started(t: TestContext, command: string, args: readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), "sluice-npm-start-"));
  const port = await freePort();
  const file = join(directory, "sluice.yaml");
  writeFileSync(
    file,
    `listen: 127.0.0.1:${port}
store: embedded:./state
providers: { openai: { accounts: [{ name: main, key: provider-key }] } }
plans: { free: { limits: [{ meter: requests, limit: 10, per: 1m }] } }
identity: { keys: [{ key: key-of-alice, user: alice, plan: free }] }
`,
  );
  const child = spawn(command, [...args, file], { cwd: ROOT, stdio: "ignore", detached: true });
  const group = -(child.pid as number);
  t.after(() => {
    try {
      process.kill(group, "SIGKILL");
    } catch {
      // All of it is gone.
    }
    rmSync(directory, { recursive: true, force: true });
  });
  const isUp = () =>
    fetch(`http://127.0.0.1:${port}/healthz`).then(
      () => true,
      () => false,
    );
  await until(isUp, 20_000);
  return { process: child, group, isUp, ended: once(child, "exit") as Promise<[number | null]> };
}

test("npm start ends the gateway when it is ended itself: what npm starts hears the signal (X6)", async (t) => {
  const npm = await started(t, "npm", ["start", "--", "--config"]);
  npm.process.kill("SIGTERM");
  await npm.ended;
  await until(async () => !(await npm.isUp()), 5_000);
});

for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) {
  test(`what npm start runs drains the gateway on ${signal}, also where the whole group hears it (X6)`, async (t) => {
    const run = ["scripts/run.mjs", "start", "--config"];
    const [alone, group] = await Promise.all([
      started(t, process.execPath, run),
      started(t, process.execPath, run),
    ]);
    alone.process.kill(signal);
    process.kill(group.group, signal);
    assert.deepEqual([(await alone.ended)[0], (await group.ended)[0]], [0, 0]);
    assert.deepEqual([await alone.isUp(), await group.isUp()], [false, false]);
  });
}
