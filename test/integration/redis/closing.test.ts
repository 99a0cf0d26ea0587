import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { startRedisCluster } from "../../support/redis-cluster.ts";

const MODULE = new URL("../../../src/stores/redis/open-redis-limit-store.ts", import.meta.url).href;
/** Longer than a cluster goes unasked who owns its slots (2 s), shorter than that plus the time which the answer may take. */
const CLOSES_AFTER_MS = 2_500;
const ENDS_WITHIN_MS = 10_000;

test("RedisLimitStore lets its process end although it was closed while a cluster was asked for its slots", async (t) => {
  const cluster = await startRedisCluster();
  t.after(() => cluster.stop());
  const program = `
    const { openRedisLimitStore } = await import(${JSON.stringify(MODULE)});
    const store = await openRedisLimitStore({ url: ${JSON.stringify(cluster.url)} });
    console.log("open");
    setTimeout(() => store.close().then(() => console.log("closed")), ${CLOSES_AFTER_MS});
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  await once(child.stdout, "data");
  // Whoever is asked from now on does not answer.
  for (const node of cluster.nodes) node.pause();
  const [code] = await once(child, "exit", { signal: AbortSignal.timeout(CLOSES_AFTER_MS + ENDS_WITHIN_MS) });
  assert.equal(code, 0);
  assert.equal(output, "open\nclosed\n");
});
