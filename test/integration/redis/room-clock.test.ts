import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { Waiter } from "../../contract/permit-queue.contract.ts";
import { startRedisServer } from "../../support/redis-server.ts";

const WINDOW_MS = 1_000;
/** What Redis may take on a machine that is busy with other tests. */
const DEADLINE_MS = 10_000;

/** Two gateways on one Redis, whose clock leaps when told to. */
async function setUp(t: TestContext) {
  const server = await startRedisServer();
  t.after(() => server.stop());
  let leaptMs = 0;
  const clock = { nowMs: () => Date.now() + leaptMs };
  const open = async (instance: number) => {
    const store = await openRedisLimitStore({ url: server.url, clock, deadlineMs: DEADLINE_MS });
    t.after(() => store.close());
    await store.beat(instance, 600_000);
    return new Waiter(store, instance);
  };
  const leap = (byMs: number) => {
    leaptMs += byMs;
  };
  return { server, ann: await open(1), ben: await open(2), leap };
}

for (const [name, limited] of [
  ["limit of its own", { key: "user=ann", spec: rolling(1, WINDOW_MS) }],
  ["limit that others share", { key: "account=a", spec: bucket(1, 1, WINDOW_MS) }],
] as const) {
  test(`RedisPermitQueue serves who waits for a ${name} though the clock of Redis goes back by an hour (L5, Q8)`, async (t) => {
    const { ann, ben, leap } = await setUp(t);
    const asked = { user: "ann", specs: [limited] };
    await ann.granted(asked);
    // It would be refused at its deadline.
    const { decision } = await ann.waiting({ ...asked, part: { maxWaitMs: 20_000 } });
    leap(-3_600_000);
    const { first } = await ben.permits.look("ann", "normal");
    assert.equal(first.length, 1);
    assert.ok(first[0].waitedMs >= 0, `waits for ${first[0].waitedMs} ms`);
    assert.equal((await decision).kind, "granted");
  });
}

test("RedisPermitQueue keeps all waits when the clock of Redis goes forward by more than the lease of a gateway (L12, Q8)", async (t) => {
  const { ann, ben, leap } = await setUp(t);
  const asked = { user: "ann", specs: [{ key: "account=a", spec: concurrency(1) }] };
  const holder = await ann.granted(asked);
  const { decision } = await ann.waiting(asked);
  leap(7_000);
  assert.equal((await ben.permits.look("ann", "normal")).total, 1);
  await ann.end(holder);
  assert.equal((await decision).kind, "granted");
});

test("RedisPermitQueue knows the dead from the living when the clock of Redis goes forward (Q7)", async (t) => {
  const { ann, ben, leap } = await setUp(t);
  const specs = [{ key: "account=a", spec: concurrency(1) }];
  await ben.granted({ user: "ben", specs });
  const { decision } = await ann.waiting({ user: "ann", specs });
  decision.catch(() => {});
  await ben.waiting({ user: "ben", specs });
  await ann.store.close();
  leap(7_000);
  assert.equal((await ben.permits.look("ann", "normal")).total, 0);
  assert.equal((await ben.permits.look("ben", "normal")).total, 1);
});
