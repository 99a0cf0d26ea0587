import assert from "node:assert/strict";
import { test } from "node:test";
import { OperationalError } from "../../src/core/operational-error.ts";
import { Lease } from "../../src/engine/lease.ts";
import { silentTelemetry } from "../../src/ports/telemetry.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

/** As L9 has it. */
const LEASE_MS_MAX = 30_000;

test("Lease asks for 30 s at the most, and renews them before they are over though two beats be lost (L9)", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const clock = new ManualClock();
  const store = new MemoryLimitStore(clock);
  t.after(() => store.close());
  const beats: { readonly atMs: number; readonly leaseMs: number }[] = [];
  t.mock.method(store, "beat", async (_instance: number, leaseMs: number) => {
    beats.push({ atMs: clock.nowMs(), leaseMs });
    return 1;
  });
  const lease = new Lease(store, silentTelemetry, clock);
  t.after(() => lease.stop());
  await lease.start();
  for (let ms = 0; ms < 120_000; ms += 100) {
    clock.advance(100);
    t.mock.timers.tick(100);
    for (let i = 0; i < 5; i++) await undefined;
  }
  assert.ok(beats.length < 60, `${beats.length} beats`);
  // Another gateway is known within three seconds, with whom limits are shared out while the store is away (L12).
  for (const [i, { atMs }] of beats.slice(1).entries()) assert.ok(atMs - beats[i].atMs <= 3_100);
  for (const [i, { atMs, leaseMs }] of beats.entries()) {
    assert.ok(leaseMs <= LEASE_MS_MAX, `a lease of ${leaseMs} ms`);
    const third = beats[i + 3];
    if (third !== undefined)
      assert.ok(third.atMs - atMs <= leaseMs, `the third beat after ${third.atMs - atMs} ms`);
  }
});

test("Lease goes on under a new name once it could not be renewed for as long as it lasts, and under the old one before (L9)", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const clock = new ManualClock();
  const store = new MemoryLimitStore(clock);
  t.after(() => store.close());
  let isAway = false;
  t.mock.method(store, "beat", async () => {
    if (isAway) throw new OperationalError("store_unavailable", "away");
    return 1;
  });
  const lease = new Lease(store, silentTelemetry, clock);
  t.after(() => lease.stop());
  await lease.start();
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      t.mock.timers.tick(100);
      for (let i = 0; i < 5; i++) await undefined;
    }
  };
  /** Away for so long; the name and the number before and after. */
  const away = async (ms: number) => {
    await pass(5_000);
    const before = lease.nextId();
    isAway = true;
    await pass(ms);
    isAway = false;
    await pass(5_000);
    return [before, lease.nextId()];
  };
  const [before, after] = await away(LEASE_MS_MAX - 5_000);
  assert.deepEqual(after, { instance: before.instance, sequence: before.sequence + 1 });
  const [old, renamed] = await away(LEASE_MS_MAX + 5_000);
  assert.notEqual(renamed.instance, old.instance);
  assert.equal(renamed.sequence, 1);
});

test("Lease says where a heartbeat fails for another reason than a store that is away, and goes on", async (t) => {
  const telemetry = new RecordingTelemetry();
  const store = new MemoryLimitStore();
  t.after(() => store.close());
  t.mock.method(store, "beat", async () => {
    throw new TypeError("a mistake");
  });
  const lease = new Lease(store, telemetry);
  t.after(() => lease.stop());
  const beats: boolean[] = [];
  await lease.start((succeeded) => beats.push(succeeded));
  assert.deepEqual(beats, [false]);
  assert.match(telemetry.lines[0], /^error a heartbeat failed.*a mistake/);
});
