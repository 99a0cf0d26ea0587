import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { concurrency } from "../../contract/limit-specs.ts";
import { Waiter } from "../../contract/permit-queue.contract.ts";
import { startRedisServer } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const CALLS = 1_000;
const USERS = 10;
/** So many calls leave the room in one script. */
const DROPPED_MAX = 256;
/** What a script of many calls may take on a machine that is busy with other tests. */
const DEADLINE_MS = 10_000;

/** What Redis is asked, scripts included. */
async function commandsOf(t: TestContext, url: string): Promise<readonly (readonly string[])[]> {
  const client = new Redis(url);
  const monitor = await client.monitor();
  t.after(() => {
    monitor.disconnect();
    client.disconnect();
  });
  const commands: string[][] = [];
  monitor.on("monitor", (_time: string, command: string[]) => commands.push(command));
  return commands;
}

test("RedisPermitQueue takes the calls of a dead gateway out in scripts of so many, and grants nothing to them meanwhile (Q7, L12)", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const open = () => openRedisLimitStore({ url: server.url, deadlineMs: DEADLINE_MS });
  const [dying, living] = [await open(), await open()];
  t.after(() => living.close());
  await Promise.all([dying.beat(1, 600_000), living.beat(2, 600_000)]);
  const spec = concurrency(1);
  const [dead, alive] = [new Waiter(dying, 1), new Waiter(living, 2)];
  const ask = (user: string) => ({ user, specs: [{ key: "all", spec }] });
  const holder = await alive.granted(ask("zoe"));
  for (let i = 0; i < CALLS; i++) {
    const { decision } = await dead.waiting(ask(`user-${i % USERS}`));
    decision.catch(() => {});
  }
  const { decision } = await alive.waiting(ask("last"));
  const commands = await commandsOf(t, server.url);
  await dying.close();
  await alive.end(holder);
  // Behind all of the dead.
  assert.equal((await decision).kind, "granted");
  const left = () =>
    commands
      .filter(([name, key]) => /^hdel$/i.test(name) && /room\d:t:/.test(key))
      .map(({ length }) => length - 2);
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  await until(() => sum(left()) >= CALLS + 1);
  assert.ok(Math.max(...left()) <= DROPPED_MAX, `${left()} in one script each`);
  const grants = commands.filter(([name, channel]) => /^publish$/i.test(name) && /room\d:g:/.test(channel));
  assert.equal(grants.length, 1, "nothing was granted to a gateway that is dead");
});
