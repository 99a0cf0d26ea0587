import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { OperationalError } from "../../../src/core/operational-error.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import type { RedisLimitStore } from "../../../src/stores/redis/redis-limit-store.ts";
import { Gateway, type Held } from "../../contract/gateway.ts";
import { concurrency, rolling } from "../../contract/limit-specs.ts";
import { RecordingTelemetry } from "../../support/recording-telemetry.ts";
import { type RedisServer, type RedisServerOptions, startRedisServer } from "../../support/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";

const KEY = "user=alice";
const spec = rolling(100, 3_600_000, { id: 81 });
const asks = [{ key: KEY, spec, hold: 40 }];

/** How long a limit's policy may wait for the store's failure (L12). */
const FAILURE_MS_MAX = 250;
/** How soon a store that is back must be found so. */
const RECOVERY_MS_MAX = 1_000;

async function setUp(t: TestContext, options: RedisServerOptions = {}) {
  const server = await startRedisServer(options);
  t.after(() => server.stop());
  const telemetry = new RecordingTelemetry();
  return { server, telemetry };
}

async function openAt(
  t: TestContext,
  url: string,
  telemetry = new RecordingTelemetry(),
): Promise<RedisLimitStore> {
  const store = await openRedisLimitStore({ url, telemetry });
  t.after(() => store.close());
  return store;
}

async function behindProxy(
  t: TestContext,
  server: RedisServer,
): Promise<{ proxy: TcpProxy; store: RedisLimitStore }> {
  const proxy = await startTcpProxy(server.port);
  t.after(() => proxy.stop());
  return { proxy, store: await openAt(t, `redis://127.0.0.1:${proxy.port}`) };
}

/** Asserts that the call fails as the store being away, in time for a policy to answer instead. */
async function assertUnavailable(call: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await assert.rejects(
    call(),
    (error) => error instanceof OperationalError && error.code === "store_unavailable",
  );
  const tookMs = performance.now() - start;
  assert.ok(tookMs <= FAILURE_MS_MAX, `failed after ${tookMs.toFixed(0)} ms`);
}

/** Calls until the store answers, as traffic does, and returns the answer. */
async function whenBack<T>(call: () => Promise<T>, withinMs = RECOVERY_MS_MAX): Promise<T> {
  const start = performance.now();
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      assert.ok(performance.now() - start < withinMs, `not back after ${withinMs} ms: ${error.message}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Reads until it is so: what a store repairs in the background has no event to wait for. */
async function eventually(holds: () => Promise<boolean>, withinMs: number): Promise<void> {
  const start = performance.now();
  while (!(await holds())) {
    assert.ok(performance.now() - start < withinMs, `not so after ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("RedisLimitStore when Redis fails", () => {
  test("RedisLimitStore fails in time while Redis does not answer, and goes on by itself (L12)", async (t) => {
    const { server, telemetry } = await setUp(t);
    const gateway = new Gateway(await openAt(t, server.url, telemetry));
    await gateway.reserve(asks);
    server.pause();
    for (let i = 0; i < 6; i++) await assertUnavailable(() => gateway.reserve(asks));
    // The circuit is open now: nobody waits for the deadline any more.
    const start = performance.now();
    for (let i = 0; i < 20; i++) await assertUnavailable(() => gateway.read(KEY, spec));
    assert.ok(performance.now() - start < FAILURE_MS_MAX);
    server.resume();
    assert.ok((await whenBack(() => gateway.read(KEY, spec))).held >= 40);
    assert.match(telemetry.lines.join("\n"), /warn Redis does not answer[\s\S]*info Redis answers again/);
  });

  test("RedisLimitStore finds a Redis again that was paused for longer than a connection may be silent (L12)", async (t) => {
    const { server } = await setUp(t);
    const gateway = new Gateway(await openAt(t, server.url));
    server.pause();
    const start = performance.now();
    while (performance.now() - start < 3_000) {
      await assertUnavailable(() => gateway.read(KEY, spec));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    server.resume();
    await whenBack(() => gateway.read(KEY, spec));
  });

  test("RedisLimitStore fails at once while Redis is down, and finds it again after a restart (L12)", async (t) => {
    const { server, telemetry } = await setUp(t, { persistent: true });
    const gateway = new Gateway(await openAt(t, server.url, telemetry));
    await gateway.reserve(asks);
    await server.kill();
    for (let i = 0; i < 5; i++) await assertUnavailable(() => gateway.reserve(asks));
    await server.start();
    // The scripts are gone from the server, the counters are not.
    assert.equal((await whenBack(() => gateway.read(KEY, spec))).held, 40);
    assert.match(
      telemetry.lines.join("\n"),
      /warn no connection to Redis[\s\S]*info connected to Redis again/,
    );
  });

  test("openRedisLimitStore opens while Redis is down and works when it is there (L12)", async (t) => {
    const { server } = await setUp(t);
    await server.shutDown();
    const gateway = new Gateway(await openAt(t, server.url));
    await assertUnavailable(() => gateway.reserve(asks));
    await server.start();
    assert.equal((await whenBack(() => gateway.reserve(asks))).outcome.kind, "admitted");
  });

  test("RedisLimitStore loads its scripts again after SCRIPT FLUSH, for every call under way (L6)", async (t) => {
    const { server } = await setUp(t);
    const gateway = new Gateway(await openAt(t, server.url));
    const flush = server.command("SCRIPT", "FLUSH");
    const held = await Promise.all(
      Array.from({ length: 50 }, () => gateway.reserve([{ key: KEY, spec, hold: 1 }])),
    );
    await flush;
    await server.command("SCRIPT", "FLUSH");
    assert.ok(held.every(({ outcome }) => outcome.kind === "admitted"));
    assert.equal((await gateway.read(KEY, spec)).held, 50);
    await server.command("SCRIPT", "FLUSH");
    await Promise.all(held.map((one) => gateway.settle(one, [1])));
    const { used, held: left } = await gateway.read(KEY, spec);
    assert.deepEqual([used, left], [50, 0]);
  });

  test("RedisLimitStore says why Redis refuses its scripts, once for many calls, and goes on when it does not (L12)", async (t) => {
    const { server, telemetry } = await setUp(t);
    const gateway = new Gateway(await openAt(t, server.url, telemetry));
    await gateway.reserve(asks);
    await server.command("CONFIG", "SET", "maxmemory", "1");
    for (let i = 0; i < 5; i++) await assertUnavailable(() => gateway.reserve(asks));
    const said = telemetry.lines.filter((line) => line.includes("Redis refuses to run scripts"));
    assert.equal(said.length, 1, telemetry.lines.join("\n"));
    assert.match(said[0], /^warn .*OOM/);
    await server.command("CONFIG", "SET", "maxmemory", "0");
    await whenBack(() => gateway.reserve(asks));
  });

  test("RedisLimitStore is unavailable on a read-only replica, and goes on when it is a master again (L12)", async (t) => {
    const { server } = await setUp(t);
    const gateway = new Gateway(await openAt(t, server.url));
    await gateway.reserve(asks);
    const { server: master } = await setUp(t);
    await server.command("REPLICAOF", master.host, String(master.port));
    await assertUnavailable(() => gateway.reserve(asks));
    await server.command("REPLICAOF", "NO", "ONE");
    await whenBack(() => gateway.reserve(asks));
  });

  test("openRedisLimitStore warns when Redis may evict keys, and not when it must not ask", async (t) => {
    const evicting = await setUp(t, { settings: { "maxmemory-policy": "allkeys-lru" } });
    await openAt(t, evicting.server.url, evicting.telemetry);
    await eventually(
      async () => /maxmemory-policy to noeviction/.test(evicting.telemetry.lines.join()),
      1_000,
    );
    const closed = await setUp(t, { settings: { "maxmemory-policy": "allkeys-lru" } });
    await closed.server.command("ACL", "SETUSER", "sluice", "on", ">secret", "~*", "+@all", "-config");
    const { host, port } = closed.server;
    const store = await openAt(t, `redis://sluice:secret@${host}:${port}`, closed.telemetry);
    await store.beat(1, 1_000);
    await store.beat(1, 1_000);
    assert.deepEqual(closed.telemetry.lines, []);
  });
});

describe("RedisLimitStore when replies are lost", () => {
  test("RedisLimitStore gives back what a reserve with a lost reply held (L6, L12)", async (t) => {
    const { server } = await setUp(t);
    const observer = new Gateway(await openAt(t, server.url));
    const { proxy, store } = await behindProxy(t, server);
    const gateway = new Gateway(store);
    // Redis knows the script, so that what is lost is not the answer that it does not.
    await gateway.reserve([{ key: "user=bob", spec, hold: 1 }]);
    proxy.mode = "swallow replies";
    const lost = assertUnavailable(() => gateway.reserve(asks));
    // The first answer that is swallowed may be another's.
    await eventually(async () => (await observer.read(KEY, spec)).held === 40, FAILURE_MS_MAX);
    await lost;
    proxy.mode = "pass";
    proxy.cut();
    await eventually(async () => (await observer.read(KEY, spec)).held === 0, 4_000);
    // Its own answer comes behind what another connection sees.
    await eventually(async () => store.lostReservations === 0, 1_000);
  });

  test("RedisLimitStore admits a reserve that is repeated after a lost reply, and holds it once (L6)", async (t) => {
    const { server } = await setUp(t);
    const { proxy, store } = await behindProxy(t, server);
    const gateway = new Gateway(store);
    const id = gateway.nextId();
    proxy.mode = "swallow replies";
    await assertUnavailable(() => gateway.reserve(asks, id));
    proxy.mode = "pass";
    proxy.cut();
    const again: Held = await whenBack(() => gateway.reserve(asks, id));
    assert.equal(again.outcome.kind, "admitted");
    assert.equal((await gateway.read(KEY, spec)).held, 40);
    // Longer than the store waits before it gives back what nobody repeats.
    await eventually(async () => store.lostReservations === 0, 1_000);
    assert.equal(await gateway.settle(again, [10]), "settled");
    const { used, held } = await gateway.read(KEY, spec);
    assert.deepEqual([used, held], [10, 0]);
  });

  test("RedisLimitStore settles once when the reply of a settle is lost and it is repeated (L6)", async (t) => {
    const { server } = await setUp(t);
    const { proxy, store } = await behindProxy(t, server);
    const gateway = new Gateway(store);
    const held = await gateway.reserve(asks);
    proxy.mode = "swallow replies";
    await assertUnavailable(() => gateway.settle(held, [30]));
    proxy.mode = "pass";
    proxy.cut();
    assert.equal(await whenBack(() => gateway.settle(held, [30])), "already");
    const { used, held: left } = await gateway.read(KEY, spec);
    assert.deepEqual([used, left], [30, 0]);
  });

  test("RedisLimitStore loses no unit when replies get lost at random under load (L6, L7)", async (t) => {
    const { server } = await setUp(t);
    const observer = new Gateway(await openAt(t, server.url));
    const { proxy, store } = await behindProxy(t, server);
    const gateway = new Gateway(store);
    let used = 0;
    const call = async () => {
      const held = await gateway.reserve([{ key: KEY, spec, hold: 1 }]).catch(() => undefined);
      if (held?.outcome.kind !== "admitted") return;
      await whenBack(() => gateway.settle(held, [1]), 5_000);
      used += 1;
    };
    for (let round = 0; round < 6; round++) {
      proxy.mode = round % 2 === 0 ? "pass" : "swallow replies";
      const calls = Promise.all(Array.from({ length: 10 }, call));
      if (round % 2 === 1) {
        await proxy.nextSwallowed();
        proxy.mode = "pass";
        proxy.cut();
      }
      await calls;
      await whenBack(() => gateway.read(KEY, spec));
    }
    await eventually(async () => (await observer.read(KEY, spec)).held === 0, 4_000);
    assert.equal((await observer.read(KEY, spec)).used, used);
  });

  test("RedisLimitStore brings concurrency back that an expired reservation of a living gateway blocks (L9)", async (t) => {
    const { server } = await setUp(t);
    const store = await openAt(t, server.url);
    const gateway = new Gateway(store);
    const [slots, all] = [concurrency(1), concurrency(1)];
    await store.beat(gateway.instance, 30_000);
    const request = gateway.request(gateway.nextId(), [
      { key: KEY, spec: slots, hold: 1 },
      { key: KEY, spec, hold: 40 },
      { key: "global", spec: all, hold: 1 },
    ]);
    assert.equal((await store.reserve({ ...request, ttlMs: 50 })).kind, "admitted");
    assert.equal((await gateway.read("global", all)).held, 1);
    await eventually(async () => (await gateway.read("global", all)).held === 0, 4_000);
    assert.equal((await gateway.read(KEY, slots)).held, 0);
    assert.equal((await gateway.read(KEY, spec)).held, 40, "what it held stays charged");
  });
});
