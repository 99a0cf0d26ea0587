import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import type { PermitCall } from "../../../src/ports/permit-queue.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { Realms } from "../../../src/stores/redis/realms.ts";
import { encodeRequest, FORCE } from "../../../src/stores/redis/request-codec.ts";
import { encodeEnter, encodeView, type RoomRequest } from "../../../src/stores/redis/room-codec.ts";
import { ROOM as SCRIPT } from "../../../src/stores/redis/scripts.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { Waiter } from "../../contract/permit-queue.contract.ts";
import { ROOM } from "../../support/limit-rules.ts";
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

test("room.lua gives gateways of which it cannot see whether they listen one more lease when the clock goes forward, and no other (Q7)", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const client = new Redis(server.url);
  t.after(() => client.disconnect());
  const realms = new Realms("clock", 1);
  let nowMs = Date.UTC(2026, 0, 15, 12);
  const run = async (gateway: string, { letter, args }: RoomRequest) => {
    const all = [String(nowMs), gateway, letter, String(args.length), ...args];
    const [, reply] = (await client.callBuffer("eval", SCRIPT.source, 1, realms.room(), ...all)) as unknown[];
    return reply;
  };
  const spec = rolling(1, 600_000);
  const enter = (sequence: number) => {
    const subjects = [{ key: "user=ann", charges: [{ spec, hold: 1, need: 1 }] }];
    const call: PermitCall = {
      id: { instance: 1, sequence },
      subjects,
      isShared: [false],
      ttlMs: 600_000,
      flow: "ann",
      priority: "normal",
      weight: 1,
      size: 1,
      bytes: 1,
      maxWaitMs: 600_000,
    };
    const { request } = encodeRequest({ ...call, step: 0, force: FORCE.no });
    return run("c1", encodeEnter(call, ROOM, { keys: [realms.subject(0, "user=ann")], request }));
  };
  const waiting = async () => Number(((await run("c2", encodeView("ann", "normal", 1))) as unknown[])[0]);
  await enter(1);
  await enter(2);
  nowMs += 7_000;
  assert.equal(await waiting(), 1);
  const later: number[] = [];
  // Somebody looks, but the gateway is heard of no more.
  for (let i = 0; i < 3; i++) {
    nowMs += 2_000;
    later.push(await waiting());
  }
  assert.deepEqual(later, [1, 1, 0]);
});
