import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Redis } from "ioredis";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { Gateway, type Held } from "../../contract/gateway.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startRedisCluster } from "../../support/redis-cluster.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";

/** All keys of a server, with what is left of their lives; −1 is for ever. */
async function lives(server: RedisServer): Promise<Map<string, number>> {
  const client = new Redis(server.url);
  try {
    const keys = await client.keys("*");
    return new Map(await Promise.all(keys.map(async (key) => [key, await client.pttl(key)] as const)));
  } finally {
    client.disconnect();
  }
}

/** Two gateways, each with many calls at once, on a few users and one shared limit. Returns what was admitted, by key. */
async function rush(gateways: readonly Gateway[], users: readonly string[], calls: number, shared: string) {
  const own = rolling(25, 3_600_000, { id: 71 });
  const all = rolling(60, 3_600_000, { id: 72 });
  const admitted = new Map<string, number>();
  const held: Held[] = [];
  await Promise.all(
    Array.from({ length: calls }, async (_, i) => {
      const key = users[i % users.length];
      const amount = 1 + (i % 3);
      const one = await gateways[i % gateways.length].reserve([
        { key, spec: own, hold: amount },
        { key: shared, spec: all, hold: amount },
      ]);
      if (one.outcome.kind !== "admitted") return;
      held.push(one);
      for (const name of [key, shared]) admitted.set(name, (admitted.get(name) ?? 0) + amount);
    }),
  );
  return { admitted, held, own, all };
}

for (const realms of [1, 8]) {
  describe(`two gateways on one cluster in ${realms} realms`, () => {
    test("RedisLimitStore never admits more than the limit however many ask at once (L1, L2)", async (t) => {
      const cluster = await startRedisCluster();
      t.after(() => cluster.stop());
      const stores = await Promise.all(
        [0, 1].map(() => openRedisLimitStore({ url: cluster.url, realms, deadlineMs: 5_000 })),
      );
      t.after(() => Promise.all(stores.map((store) => store.close())));
      const gateways = stores.map((store) => new Gateway(store));
      const users = ["user=ann", "user=ben", "user=cleo", "feature=x|user=dan"];
      const { admitted, held, own, all } = await rush(gateways, users, 400, "global");
      for (const user of users) {
        assert.ok((admitted.get(user) ?? 0) <= own.capacity);
        const reading = await gateways[0].read(user, own);
        assert.equal(reading.held, admitted.get(user) ?? 0, "what a refused call held was given back");
      }
      const rushed = admitted.get("global") ?? 0;
      assert.ok(rushed > 0 && rushed <= all.capacity, `${rushed} admitted`);
      // In a rush a call may be refused for what another holds in one realm until the other realm has refused it; nobody is, one after the other.
      for (let i = 0, refused = 0; refused < users.length; i++) {
        const asks = [
          { key: users[i % users.length], spec: own, hold: 1 },
          { key: "global", spec: all, hold: 1 },
        ];
        const one = await gateways[i % 2].reserve(asks);
        refused = one.outcome.kind === "admitted" ? 0 : refused + 1;
        if (one.outcome.kind === "admitted") held.push(one);
      }
      const total = all.capacity;
      assert.equal((await gateways[1].read("global", all)).held, total);
      await Promise.all(held.map((one, i) => gateways[i % 2].settle(one, [1, 1])));
      assert.deepEqual((await gateways[1].read("global", all)).used, held.length);
      for (const node of cluster.nodes) {
        for (const [key, life] of await lives(node)) assert.ok(life > 0, `${key} lives for ever (L10)`);
      }
    });
  });
}

describe("RedisLimitStore on one server", () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedisServer();
  });
  after(() => server.stop());

  test("RedisLimitStore gives every key an expiry, also after clock steps and overflow (L10)", async (t) => {
    const store = await openRedisLimitStore({ url: server.url });
    t.after(() => store.close());
    const gateway = new Gateway(store);
    await store.beat(gateway.instance, 30_000);
    const key = "user=litter";
    const asks = [
      { key, spec: rolling(1e6, 1_000), hold: 1 },
      { key, spec: bucket(1e6, 10, 1_000), hold: 1 },
      { key, spec: concurrency(1_000), hold: 1 },
      { key: "global", spec: rolling(1e6, 86_400_000), hold: 0, need: 1 },
    ];
    const held = await Promise.all(Array.from({ length: 150 }, () => gateway.reserve(asks)));
    await Promise.all(held.slice(0, 120).map((one) => gateway.settle(one, [5, 5, 0, 7])));
    await Promise.all(held.slice(120, 140).map((one) => gateway.release(one)));
    await gateway.release({ id: gateway.nextId(), asks: [{ ...asks[0], key: "user=never-seen" }] });
    const found = await lives(server);
    assert.ok(found.size > 20, "some reservations have keys of their own");
    for (const [name, life] of found) assert.ok(life > 0, `${name} lives for ever`);
  });

  test("RedisLimitStore forgets what gateways held that are dead: they come and go for years (L9, L10)", async (t) => {
    const clock = new ManualClock();
    const store = await openRedisLimitStore({ url: server.url, clock });
    t.after(() => store.close());
    const asks = [{ key: "user=of-many-gateways", spec: concurrency(1), hold: 1 }];
    const bytes = async () => {
      const found = (await server.command("KEYS", "*of-many-gateways*")) as readonly string[];
      assert.equal(found.length, 1, `${found}`);
      return Number(await server.command("STRLEN", found[0]));
    };
    let first = 0;
    for (let i = 0; i < 40; i++) {
      const gateway = new Gateway(store);
      await store.beat(gateway.instance, 30_000);
      // Given up long before the next one comes, so that the slot is all that could be left of it.
      const request = { ...gateway.request(gateway.nextId(), asks), ttlMs: 1_000 };
      assert.equal((await store.reserve(request)).kind, "admitted");
      if (i === 0) first = await bytes();
      clock.advance(600_000);
    }
    const last = await bytes();
    assert.ok(last <= first * 2, `${first} bytes of one gateway, ${last} after forty`);
  });

  test("RedisLimitStore asks Redis once a reservation and once a settlement, and has one key a subject", async (t) => {
    const store = await openRedisLimitStore({ url: server.url });
    t.after(() => store.close());
    const gateway = new Gateway(store);
    const asks = [
      { key: "user=counted", spec: rolling(1e6, 60_000), hold: 1 },
      { key: "user=counted", spec: bucket(1e6, 10, 1_000), hold: 1 },
      { key: "plan=counted", spec: rolling(1e6, 3_600_000), hold: 1 },
    ];
    const scripts = async () => {
      const stats = String(await server.command("INFO", "commandstats"));
      const counts = [...stats.matchAll(/cmdstat_(?:evalsha|eval|fcall):calls=(\d+)/g)];
      return counts.reduce((sum, [, calls]) => sum + Number(calls), 0);
    };
    // Scripts are there from now on.
    await gateway.settle(await gateway.reserve(asks), [1, 1, 1]);
    const before = await scripts();
    for (let i = 0; i < 20; i++) await gateway.settle(await gateway.reserve(asks), [1, 1, 1]);
    assert.equal((await scripts()) - before, 40);
    for (const subject of ["user=counted", "plan=counted"]) {
      const found = (await server.command("KEYS", `*${subject}*`)) as readonly string[];
      assert.equal(found.length, 1, `${found}`);
    }
  });

  test("RedisLimitStore keeps users apart whatever their names hold (X3)", async (t) => {
    const store = await openRedisLimitStore({ url: server.url });
    t.after(() => store.close());
    const gateway = new Gateway(store);
    const spec = rolling(5, 60_000);
    const names = [
      "{a}",
      "}{",
      "\u0000\r\n$5\r\n",
      "\ud800",
      "\udfff",
      "é",
      "e\u0301",
      "x".repeat(1e5),
      "x".repeat(1e5 + 1),
    ];
    for (const name of names) await gateway.reserve([{ key: `user=${name}`, spec, hold: 2 }]);
    for (const name of names)
      assert.equal((await gateway.read(`user=${name}`, spec)).held, 2, name.slice(0, 9));
    for (const key of (await lives(server)).keys()) assert.ok(key.length < 1_000);
  });
});
