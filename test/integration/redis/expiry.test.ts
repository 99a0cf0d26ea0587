import assert from "node:assert/strict";
import { test } from "node:test";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { rolling } from "../../contract/limit-specs.ts";
import { startRedisServer } from "../../support/redis-server.ts";

/** How long a closed reservation is remembered, and what the clock may step back: nothing is kept for less. */
const REMEMBERED_MS = 70_000;
/** A key may outlive what is in it by so much, so that not every call has to say when it expires. */
const LONGER_MS = REMEMBERED_MS / 8 + 30_000;

test("RedisLimitStore keeps a settled subject for little longer than its windows and its closed reservations (L10)", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  const store = await openRedisLimitStore({ url: server.url });
  t.after(() => store.close());
  const instance = 7;
  await store.beat(instance, 60_000);
  const spec = rolling(100, 3_000);
  for (const [sequence, user] of ["once", "again", "again", "again"].entries()) {
    const id = { instance, sequence };
    const key = `user=${user}`;
    await store.reserve({ id, ttlMs: 60_000, subjects: [{ key, charges: [{ spec, hold: 2, need: 2 }] }] });
    await store.settle({ id, subjects: [{ key, charges: [{ spec, actual: 1 }] }] });
  }
  const keys = ((await server.command("KEYS", "*user=*")) as readonly string[]).map(String);
  assert.equal(keys.length, 2);
  for (const key of keys) {
    const leftMs = Number(await server.command("PTTL", key));
    assert.ok(leftMs > REMEMBERED_MS - 5_000, `${key} is gone after ${leftMs} ms`);
    assert.ok(leftMs <= REMEMBERED_MS + LONGER_MS, `${key} stays for ${leftMs} ms`);
  }
});
