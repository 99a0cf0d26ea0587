import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../support/free-port.ts";
import { until } from "../support/until.ts";

const ROOT = join(import.meta.dirname, "..", "..");

test("npm start ends the gateway when it is ended itself: what npm starts hears the signal (X6)", async (t) => {
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
  // A group of its own, so that whatever is left of it can be ended at the end.
  const npm = spawn("npm", ["start", "--", "--config", file], { cwd: ROOT, stdio: "ignore", detached: true });
  t.after(() => {
    try {
      process.kill(-(npm.pid as number), "SIGKILL");
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
  const ended = once(npm, "exit");
  npm.kill("SIGTERM");
  await ended;
  await until(async () => !(await isUp()), 5_000);
});
