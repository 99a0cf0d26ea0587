import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import type { LimitSpec } from "../../../src/core/limits/limit-spec.ts";
import type { PermitCall } from "../../../src/ports/permit-queue.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { decodeGrants } from "../../../src/stores/redis/room-codec.ts";
import { bucket, concurrency } from "../../contract/limit-specs.ts";
import { Waiter } from "../../contract/permit-queue.contract.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const CONTESTS = 100;
/** What a script of many calls may take on a machine that is busy with other tests. */
const DEADLINE_MS = 10_000;
const ENDLESS = bucket(1e9, 1e9, 1_000);

async function setUp(t: TestContext) {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const store = await openRedisLimitStore({ url: server.url, deadlineMs: DEADLINE_MS });
  t.after(() => store.close());
  await store.beat(1, 600_000);
  const waiter = new Waiter(store, 1);
  /** Limits of a model that a client has made up, beside one for all. */
  const ask = (user: string, model: number, all: LimitSpec) => ({
    user,
    specs: [
      { key: `model=${model}`, spec: ENDLESS },
      { key: "all", spec: all },
    ],
  });
  return { server, waiter, ask };
}

/** How many calls that wait Redis reads while `step` runs. */
async function ticketsReadDuring(server: RedisServer, step: () => Promise<unknown>): Promise<number> {
  const client = new Redis(server.url);
  const monitor = await client.monitor();
  let read = 0;
  let isOver = false;
  monitor.on("monitor", (_time: string, [command, ...args]: readonly string[]) => {
    if (/^hm?get$/i.test(command) && /room\d:t:/.test(args[0])) read += args.length - 1;
    if (/^echo$/i.test(command)) isOver = true;
  });
  await step();
  await client.echo("over");
  await until(() => isOver);
  monitor.disconnect();
  client.disconnect();
  return read;
}

test("RedisPermitQueue tries nobody behind a call for whom what all share does not do, however many models clients make up (L12, Q8)", async (t) => {
  const { server, waiter, ask } = await setUp(t);
  const all = concurrency(1);
  await waiter.granted(ask("zoe", 0, all));
  for (let model = 0; model < CONTESTS; model++) await waiter.waiting(ask(`user-${model % 2}`, model, all));
  const read = await ticketsReadDuring(server, () => {
    waiter.permits.freed({ keys: ["all"], served: undefined, openMs: 1 });
    return waiter.permits.look("zoe", "normal");
  });
  assert.ok(read > 0 && read < 10, `${read} tried`);
});

test("RedisPermitQueue serves so many in one script, and all of them in the next (L12, Q8)", async (t) => {
  const { server, waiter, ask } = await setUp(t);
  const all = concurrency(CONTESTS);
  const holders: PermitCall[] = [];
  for (let i = 0; i < CONTESTS; i++) holders.push(await waiter.granted(ask("zoe", 0, all)));
  let served = 0;
  for (let model = 0; model < CONTESTS; model++) {
    const { decision } = await waiter.waiting(ask(`user-${model}`, model, all));
    decision.then(
      ({ kind }) => (served += kind === "granted" ? 1 : 0),
      () => {},
    );
  }
  const listener = new Redis(server.url);
  t.after(() => listener.disconnect());
  const together: number[] = [];
  await listener.psubscribe("*");
  listener.on("pmessageBuffer", (_pattern, _channel, message: Buffer) =>
    together.push(decodeGrants(message).grants.length),
  );
  await Promise.all(holders.map((call) => waiter.end(call)));
  await until(() => served === CONTESTS, DEADLINE_MS);
  // Among the last ones, which are few, more at once than among many.
  assert.ok(Math.max(...together) <= 32, `${together} in one script each`);
});
