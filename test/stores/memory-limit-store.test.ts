import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { Gateway } from "../contract/gateway.ts";
import { rolling } from "../contract/limit-specs.ts";
import { limitStoreContract } from "../contract/limit-store.contract.ts";
import { ManualClock } from "../support/manual-clock.ts";

limitStoreContract(
  "MemoryLimitStore",
  async () => {
    const clock = new ManualClock();
    const store = new MemoryLimitStore(clock);
    return { clock, stores: [store, store], close: () => store.close() };
  },
  { isReference: true },
);

test("MemoryLimitStore forgets subjects whose windows have passed (L10)", async () => {
  const clock = new ManualClock();
  const store = new MemoryLimitStore(clock);
  const gateway = new Gateway(store);
  const spec = rolling(10, 60_000);
  for (let i = 0; i < 5_000; i++) {
    const held = await gateway.reserve([{ key: `user=${i}`, spec, hold: 2 }]);
    await gateway.settle(held, [1]);
  }
  assert.equal(store.size, 5_000);
  clock.advance(60_001);
  for (let i = 0; i < 6; i++) store.sweep();
  assert.equal(store.size, 0);
  await store.close();
});

test("MemoryLimitStore remembers for a minute what was closed, and not for ever (L6, L10)", async (t) => {
  const clock = new ManualClock();
  const store = new MemoryLimitStore(clock);
  t.after(() => store.close());
  const gateway = new Gateway(store);
  const held = await gateway.reserve([{ key: "user=alice", spec: rolling(10, 3_600_000), hold: 2 }]);
  assert.equal(await gateway.settle(held, [1]), "settled");
  // As often as its timer would.
  for (let second = 0; second < 59; second++) {
    clock.advance(1_000);
    store.sweep();
  }
  assert.equal(await gateway.settle(held, [1]), "already");
  for (let second = 0; second < 180; second++) {
    clock.advance(1_000);
    store.sweep();
  }
  assert.equal(await gateway.settle(held, [1]), "unknown");
});
