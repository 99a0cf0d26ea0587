import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { OperationalError } from "../../../src/core/operational-error.ts";
import type { PermitQueue } from "../../../src/ports/permit-queue.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { concurrency, rolling } from "../../contract/limit-specs.ts";
import { permitQueueContract, Waiter } from "../../contract/permit-queue.contract.ts";
import { ROOM } from "../../support/limit-rules.ts";
import { startRedisCluster } from "../../support/redis-cluster.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

function contract(name: string, start: () => Promise<{ readonly url: string; stop(): Promise<void> }>): void {
  permitQueueContract(name, async () => {
    const server = await start();
    // Where a cluster is spread over several realms, calls do not wait.
    const open = () => openRedisLimitStore({ url: server.url, realms: 1 });
    const stores = [await open(), await open()] as const;
    return {
      stores,
      close: async () => {
        await Promise.all(stores.map((store) => store.close()));
        await server.stop();
      },
    };
  });
}

contract("RedisLimitStore", () => startRedisServer());
contract("RedisLimitStore on a cluster in one realm", () => startRedisCluster());

async function setUp(t: TestContext) {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const store = await openRedisLimitStore({ url: server.url });
  t.after(() => store.close());
  await store.beat(1, 600_000);
  const permits = store.permits as PermitQueue;
  const spec = concurrency(1);
  let sequence = 0;
  const enter = (maxWaitMs = 60_000) =>
    permits.enter(
      {
        id: { instance: 1, sequence: ++sequence },
        subjects: [{ key: "account=a", charges: [{ spec, hold: 1, need: 1 }] }],
        isShared: [true],
        ttlMs: 600_000,
        flow: "ann",
        priority: "normal",
        weight: 1,
        size: 1,
        bytes: 1,
        maxWaitMs,
      },
      ROOM,
    );
  const waiting = async () => {
    const entry = await enter();
    return entry.kind === "waiting" ? entry : assert.fail(entry.kind);
  };
  return { server, store, permits, spec, enter, waiting };
}

const isUnavailable = (error: unknown) =>
  error instanceof OperationalError && error.code === "store_unavailable";

test("RedisPermitQueue queues up again when Redis has lost everything (L12)", async (t) => {
  const { server, waiting, enter } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const { decision } = await waiting();
  const started = performance.now();
  await server.command("FLUSHALL");
  assert.equal((await decision).kind, "granted");
  // A beat, and what a busy machine adds.
  assert.ok(performance.now() - started < 1_000 + 2_000);
});

test("RedisPermitQueue queues up again when Redis has lost everything, though other calls come and wait meanwhile (L12)", async (t) => {
  const { server, store } = await setUp(t);
  const waiter = new Waiter(store, 2);
  const spec = rolling(1, 60_000);
  const ask = (user: string) => ({ user, specs: [{ key: `user=${user}`, spec }] });
  await waiter.granted(ask("ann"));
  const first = await waiter.waiting(ask("ann"));
  const second = await waiter.waiting(ask("ann"));
  await server.command("FLUSHALL");
  // As many wait as did.
  await waiter.granted(ask("ben"));
  const others = [await waiter.waiting(ask("ben")), await waiter.waiting(ask("ben"))];
  assert.equal((await first.decision).kind, "granted");
  const { total } = await waiter.permits.look("ann", "normal");
  assert.equal(total, 1, "the second waits behind the first, as it did");
  for (const { leave } of [second, ...others]) leave();
});

test("RedisPermitQueue ends its waits when Redis has lost some of them (L12)", async (t) => {
  const { server, waiting, enter } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const { decision } = await waiting();
  const started = performance.now();
  const rejected = assert.rejects(decision, isUnavailable);
  const keys = (await server.command("KEYS", "*room*:t:*")) as readonly string[];
  await server.command("DEL", ...keys);
  await rejected;
  // Two beats, and what a busy machine adds.
  assert.ok(performance.now() - started < 2_000 + 2_000);
});

test("RedisPermitQueue keeps waits for as long as they may last, whatever else is granted (Q4)", async (t) => {
  const { waiting, enter, permits } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const entries = await Promise.all(Array.from({ length: 50 }, waiting));
  let failed = 0;
  for (const { decision } of entries) decision.catch(() => (failed += 1));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.equal(failed, 0);
  assert.equal((await permits.look("ann", "normal")).total, 50);
  for (const { leave } of entries) leave();
});

test("RedisPermitQueue counts a deadline from when the call came, however slow Redis is to answer (Q4)", async (t) => {
  const { server, enter } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const lateMs: number[] = [];
  for (let i = 0; i < 3; i++) {
    const started = performance.now();
    await server.command("CLIENT", "PAUSE", "120", "ALL");
    const entry = await enter(200);
    assert.ok(performance.now() - started >= 100, "Redis was not slow");
    assert.ok(entry.kind === "waiting");
    assert.equal((await entry.decision).kind, "timed_out");
    lateMs.push(performance.now() - started - 200);
  }
  // A machine on which other tests run may stand still, but not always.
  assert.ok(Math.min(...lateMs) <= 50, `late by ${lateMs} ms`);
});

test("RedisPermitQueue leaves no key without an expiry behind, whatever its calls wait for (L10)", async (t) => {
  const { server, store, waiting, enter } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  // In one lane, behind another, and asleep until the user's own limit gives something back.
  await waiting();
  await waiting();
  const ben = new Waiter(store, 2);
  const own = { user: "ben", specs: [{ key: "user=ben", spec: rolling(1, 60_000) }] };
  await ben.granted(own);
  await ben.waiting(own);
  await ben.waiting(own);
  const keys = (await server.command("KEYS", "*")) as readonly string[];
  // A list of those behind the head, and a set of those that sleep: what would be left out is what has them.
  const types = new Set(await Promise.all(keys.map((key) => server.command("TYPE", key))));
  for (const type of ["string", "list", "set", "zset", "hash"]) assert.ok(types.has(type), `no ${type}`);
  for (const key of keys) {
    const ttl = Number(await server.command("PTTL", key));
    assert.ok(ttl > 0, `${key}: ${ttl}`);
  }
});

test("RedisPermitQueue takes a call out of the room of which it never heard that it had come (Q5, Q7)", async (t) => {
  const { server, store, spec, enter, waiting, permits } = await setUp(t);
  const first = { instance: 1, sequence: 1 };
  assert.equal((await enter()).kind, "granted");
  // So that grants are heard, and the script is there.
  (await waiting()).leave();
  await server.command("CLIENT", "PAUSE", "500", "ALL");
  await assert.rejects(enter(), isUnavailable);
  // Redis has done what it was asked meanwhile, and nobody was there to hear it.
  await until(async () => (await permits.look("ann", "normal").catch(() => undefined))?.total === 1);
  // Not only when the lease of a gateway that nobody hears of has run out.
  await until(async () => (await permits.look("ann", "normal")).total === 0, 3_000);
  const subjects = [{ key: "account=a", charges: [{ spec, actual: 1 }] }];
  await store.settle({ id: first, subjects });
  permits.freed({ keys: ["account=a"], served: undefined, openMs: 1 });
  assert.equal((await enter()).kind, "granted");
});

test("RedisPermitQueue gives back what is granted to a call whose leaving Redis did not hear of (Q5, L7)", async (t) => {
  const { server, store, spec, enter, waiting, permits } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const leaving = await waiting();
  await server.command("CLIENT", "PAUSE", "700", "ALL");
  // After so many without an answer nothing is sent any more: the leaving is never heard of.
  for (let i = 0; i < 3; i++) await assert.rejects(permits.look("ann", "normal"), isUnavailable);
  leaving.leave();
  await until(async () => (await permits.look("ann", "normal").catch(() => undefined))?.total === 0, 3_000);
  const subjects = [{ key: "account=a", charges: [{ spec, actual: 1 }] }];
  await store.settle({ id: { instance: 1, sequence: 1 }, subjects });
  permits.freed({ keys: ["account=a"], served: undefined, openMs: 1 });
  const [{ held }] = await store.read([{ key: "account=a", specs: [spec] }]);
  assert.equal(held, 0);
  assert.equal((await enter()).kind, "granted");
});

/** How many calls Redis has run of each command, and of all of them. */
async function commandsOf(server: RedisServer): Promise<ReadonlyMap<string, number>> {
  const stats = String(await server.command("INFO", "commandstats"));
  return new Map(
    [...stats.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].map(([, name, calls]) => [name, Number(calls)]),
  );
}

test("RedisPermitQueue looks at nobody else in the line when a call leaves it (L12)", async (t) => {
  const { server, waiting, enter, permits } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  const entries = await Promise.all(Array.from({ length: 100 }, waiting));
  await server.command("CONFIG", "RESETSTAT");
  // The last first: all others wait in front of it.
  for (const { leave } of entries.slice(1).reverse()) leave();
  await until(async () => (await permits.look("ann", "normal")).total === 1);
  // The line is read to see who is in front: here by `look` only.
  const commands = await commandsOf(server);
  assert.equal(commands.get("lrem"), 99);
  assert.ok((commands.get("lrange") ?? 0) < 10, `${commands.get("lrange")} looks at the line`);
  entries[0].leave();
});

test("RedisPermitQueue looks at so many calls of a flow, however many wait (L12, X3)", async (t) => {
  const { server, waiting, enter, permits } = await setUp(t);
  assert.equal((await enter()).kind, "granted");
  let all = 0;
  const commandsFor = async (count: number) => {
    const entries = await Promise.all(Array.from({ length: count }, waiting));
    all += count;
    await server.command("CONFIG", "RESETSTAT");
    assert.equal((await permits.look("ann", "normal")).total, all);
    const commands = await commandsOf(server);
    const sum = [...commands.values()].reduce((a, b) => a + b, 0);
    return { entries, sum };
  };
  const [few, many] = [await commandsFor(30), await commandsFor(300)];
  // A beat may come between.
  assert.ok(many.sum <= few.sum + 10, `${few.sum} commands for 30, ${many.sum} for 330`);
  for (const { leave } of [...few.entries, ...many.entries]) leave();
});

test("RedisPermitQueue refuses at once while Redis is known not to answer, and opens no connection for it (L12)", async (t) => {
  const { server, enter, store } = await setUp(t);
  const clients = async () =>
    String(await server.command("CLIENT", "LIST"))
      .trim()
      .split("\n").length;
  const before = await clients();
  await server.command("CLIENT", "PAUSE", "900", "ALL");
  const reads = Array.from({ length: 3 }, () => store.read([{ key: "account=a", specs: [concurrency(1)] }]));
  for (const read of reads) await assert.rejects(read, isUnavailable);
  const started = performance.now();
  for (let i = 0; i < 20; i++) await assert.rejects(enter(), isUnavailable);
  assert.ok(performance.now() - started < 150, `${performance.now() - started} ms`);
  assert.ok((await clients()) <= before);
});
