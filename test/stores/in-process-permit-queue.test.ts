import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { LimitSpec } from "../../src/core/limits/limit-spec.ts";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { bucket, concurrency, rolling } from "../contract/limit-specs.ts";
import { permitQueueContract, Waiter } from "../contract/permit-queue.contract.ts";
import { holdTime } from "../support/process-time.ts";

permitQueueContract("MemoryLimitStore", async () => {
  const store = new MemoryLimitStore();
  return { stores: [store, store], close: () => store.close() };
});

permitQueueContract("EmbeddedLimitStore", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-permits-"));
  const store = new EmbeddedLimitStore({ directory });
  return {
    stores: [store, store],
    close: async () => {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
});

/** No wait in these tests takes as long. */
const WATCHED_MS = 5_000;

/** A waiter on a store whose clock and timers only move when told to. */
function timed(t: TestContext): Waiter {
  holdTime(t);
  const store = new MemoryLimitStore({ nowMs: () => Date.now() });
  t.after(() => store.close());
  return new Waiter(store, 101);
}

/** Lets time pass a millisecond after the other until there is a decision; resolves with its kind, and how many it took. */
async function decided(
  t: TestContext,
  decision: Promise<{ readonly kind: string }>,
): Promise<readonly [kind: string, afterMs: number]> {
  let kind: string | undefined;
  decision.then(
    (found) => {
      kind = found.kind;
    },
    (error: unknown) => {
      kind = String(error);
    },
  );
  for (let afterMs = 0; afterMs < WATCHED_MS; afterMs++) {
    // A promise that is kept by now is told in a few turns of the queue of microtasks.
    for (let i = 0; i < 10; i++) await undefined;
    if (kind !== undefined) return [kind, afterMs];
    t.mock.timers.tick(1);
  }
  assert.fail("not decided");
}

/** What stands in the promise. */
const [LATE_MS_MAX, IDLE_MS_MAX] = [50, 20];

test("InProcessPermitQueue refuses a call at its deadline, and no later than 50 ms after it (Q4)", async (t) => {
  const waiter = timed(t);
  const specs = [{ key: "account=1", spec: concurrency(1) }];
  await waiter.store.beat(101, 600_000);
  await waiter.granted({ user: "ann", specs });
  const { decision } = await waiter.waiting({ user: "ben", specs, part: { maxWaitMs: 150 } });
  const [kind, afterMs] = await decided(t, decision);
  assert.equal(kind, "timed_out");
  assert.ok(afterMs >= 150 && afterMs <= 150 + LATE_MS_MAX, `after ${afterMs} ms`);
});

const GIVES_BACK: readonly (readonly [what: string, spec: LimitSpec, hold: number, fitsAfterMs: number])[] = [
  ["a rolling window", rolling(1, 400), 1, 400],
  ["a token bucket", bucket(10, 10, 1_000), 3, 300],
];
for (const [what, spec, hold, fitsAfterMs] of GIVES_BACK) {
  test(`InProcessPermitQueue serves as soon as ${what} has given back, and leaves nothing idle for longer than 20 ms (Q8)`, async (t) => {
    const waiter = timed(t);
    const key = "user=tim";
    await waiter.granted({ user: "tim", specs: [{ key, spec, hold: spec.capacity }] });
    const { decision } = await waiter.waiting({ user: "tim", specs: [{ key, spec, hold }] });
    const [kind, afterMs] = await decided(t, decision);
    assert.equal(kind, "granted");
    assert.ok(afterMs >= fitsAfterMs && afterMs <= fitsAfterMs + IDLE_MS_MAX, `after ${afterMs} ms`);
  });
}

test("InProcessPermitQueue serves the next at once when a call tells that it is over (Q8)", async (t) => {
  const waiter = timed(t);
  const specs = [{ key: "account=1", spec: concurrency(1) }];
  await waiter.store.beat(101, 600_000);
  const holder = await waiter.granted({ user: "ann", specs });
  const { decision } = await waiter.waiting({ user: "ben", specs });
  t.mock.timers.tick(70);
  await waiter.end(holder);
  assert.deepEqual(await decided(t, decision), ["granted", 0]);
});

for (const [name, limited] of [
  ["limit of its own", { key: "user=ann", spec: rolling(1, 1_000) }],
  ["limit that others share", { key: "account=a", spec: bucket(1, 1, 1_000) }],
] as const) {
  test(`InProcessPermitQueue serves who waits for a ${name} within three windows though the clock goes back by an hour (L5, Q8)`, async (t) => {
    holdTime(t);
    let leaptMs = 0;
    const store = new MemoryLimitStore({ nowMs: () => Date.now() + leaptMs });
    t.after(() => store.close());
    const waiter = new Waiter(store, 101);
    const asked = { user: "ann", specs: [limited] };
    await waiter.granted(asked);
    const { decision } = await waiter.waiting(asked);
    leaptMs = -3_600_000;
    const [kind, afterMs] = await decided(t, decision);
    assert.equal(kind, "granted");
    // The moment that was told, the same again for the room, and for the limit, which move with the clock when they see it.
    assert.ok(afterMs >= 1_000 && afterMs <= 3_200, `after ${afterMs} ms`);
  });
}
