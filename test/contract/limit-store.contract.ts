import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { LimitStore } from "../../src/ports/limit-store.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { runs } from "../support/property.ts";
import { Gateway, type Held } from "./gateway.ts";
import { longSteps, newKey, steps, timedSpecs, WINDOW_MS } from "./histories.ts";
import { bucket, calendar, concurrency, grainOf, rolling } from "./limit-specs.ts";
import { timeContract } from "./time.contract.ts";

/** A store under test, with the clock that it goes by. Keys are new in every test, so one store serves them all. */
export interface StoreUnderTest {
  readonly clock: ManualClock;
  /** Two gateways' doors to the same counters; the same object where a store serves only one process. */
  readonly stores: readonly [LimitStore, LimitStore];
  close(): Promise<void>;
}

const LEASE_MS = 30_000;
const MINUTE_MS = 60_000;

/**
 * What every limit store must do: passing this is the definition of being one. The memory store, which the others are compared with, is
 * itself not: `isReference`.
 */
export function limitStoreContract(
  name: string,
  open: () => Promise<StoreUnderTest>,
  { isReference = false } = {},
): void {
  describe(`${name} as a limit store`, () => {
    let under: StoreUnderTest;
    let clock: ManualClock;
    let a: Gateway;
    let b: Gateway;

    before(async () => {
      under = await open();
      clock = under.clock;
      a = new Gateway(under.stores[0]);
      b = new Gateway(under.stores[1]);
    });
    after(() => under.close());
    timeContract(() => ({ clock, a, b }));
    const beat = () => Promise.all([a.store.beat(a.instance, LEASE_MS), b.store.beat(b.instance, LEASE_MS)]);

    test("reserve charges every limit of an admitted call (L1)", async () => {
      const [user, all] = [newKey(), newKey()];
      const [requests, tokens, shared] = [
        rolling(3, MINUTE_MS),
        rolling(100, MINUTE_MS),
        bucket(500, 500, MINUTE_MS),
      ];
      const held = await a.reserve([
        { key: user, spec: requests, hold: 1 },
        { key: user, spec: tokens, hold: 40 },
        { key: all, spec: shared, hold: 40 },
      ]);
      assert.equal(held.outcome.kind, "admitted");
      assert.deepEqual(
        held.outcome.readings.map(({ held, remaining }) => [held, remaining]),
        [
          [1, 2],
          [40, 60],
          [40, 460],
        ],
      );
      assert.equal((await b.read(user, tokens)).held, 40);
      assert.equal((await b.read(all, shared)).held, 40);
    });

    test("reserve leaves every limit as it was when one refuses (L1)", async () => {
      const [user, all] = [newKey(), newKey()];
      const [wide, tight] = [rolling(100, MINUTE_MS), rolling(10, MINUTE_MS)];
      await a.reserve([
        { key: user, spec: wide, hold: 5 },
        { key: all, spec: tight, hold: 8 },
      ]);
      const before = [await a.read(user, wide), await a.read(all, tight)];
      const refused = await b.reserve([
        { key: user, spec: wide, hold: 5 },
        { key: all, spec: tight, hold: 3 },
      ]);
      assert.equal(refused.outcome.kind, "refused");
      assert.equal(refused.outcome.kind === "refused" && refused.outcome.limiting, 1);
      assert.deepEqual([await a.read(user, wide), await a.read(all, tight)], before);
    });

    test("reserve tells the wait after which the call is admitted, and no longer than it must be (L3)", async () => {
      await fc.assert(
        fc.asyncProperty(longSteps, fc.integer({ min: 1, max: 5 }), async (history, amount) => {
          const key = newKey();
          const asks = timedSpecs(clock.nowMs()).map((spec) => ({ key, spec, hold: amount }));
          for (const step of history) {
            clock.advance(step.advanceMs);
            const chosen = asks.filter((_, i) => (step.pick >> i) % 2 === 0);
            if (chosen.length === 0) continue;
            const held = await a.reserve(chosen.map((ask) => ({ ...ask, hold: Math.min(5, step.amount) })));
            if (held.outcome.kind === "admitted" && step.action === "settle") {
              await a.settle(
                held,
                chosen.map(() => step.pick),
              );
            }
          }
          const refused = await a.reserve(asks);
          if (refused.outcome.kind !== "refused") return;
          const { waitMs, limiting } = refused.outcome;
          assert.ok(Number.isInteger(waitMs) && waitMs > 0);
          const early = waitMs - grainOf(asks[limiting].spec) - 1;
          if (early > 0) {
            clock.advance(early);
            assert.equal((await a.reserve(asks)).outcome.kind, "refused", "too early");
          }
          clock.advance(waitMs - Math.max(0, early));
          assert.equal((await a.reserve(asks)).outcome.kind, "admitted", `after ${waitMs} ms`);
        }),
        runs(80),
      );
    });

    test("reserve refuses at once and for good what a limit can never hold (L4)", async () => {
      const key = newKey();
      for (const spec of [...timedSpecs(clock.nowMs()), concurrency(1)]) {
        const { outcome } = await a.reserve([{ key, spec, hold: spec.capacity + 1 }]);
        assert.equal(outcome.kind, "never_fits", spec.algorithm);
        assert.equal((await a.read(key, spec)).remaining, spec.capacity);
      }
    });

    test("reserve, settle and release with an id that was seen before change nothing (L6)", async () => {
      const [key, spec] = [newKey(), rolling(100, MINUTE_MS)];
      const first = await a.reserve([{ key, spec, hold: 40 }]);
      const again = await a.reserve(first.asks, first.id);
      assert.equal(again.outcome.kind, "admitted");
      assert.equal((await a.read(key, spec)).held, 40);
      assert.equal(await a.settle(first, [30]), "settled");
      assert.equal(await a.settle(first, [30]), "already");
      assert.equal(await a.release(first), "already");
      assert.equal((await a.reserve(first.asks, first.id)).outcome.kind, "closed");
      const { used, held } = await b.read(key, spec);
      assert.deepEqual([used, held], [30, 0]);
    });

    test("release of a reservation that has not arrived yet keeps it from ever happening (L6)", async () => {
      const [key, spec] = [newKey(), rolling(100, MINUTE_MS)];
      const asks = [{ key, spec, hold: 40 }];
      const id = a.nextId();
      assert.equal(await a.release({ id, asks }), "unknown");
      assert.equal((await a.reserve(asks, id)).outcome.kind, "closed");
      assert.equal((await a.read(key, spec)).held, 0);
    });

    test("extend holds more once a step, and not for a reservation that is closed (L6)", async () => {
      const [key, spec] = [newKey(), rolling(100, MINUTE_MS)];
      const held = await a.reserve([{ key, spec, hold: 40 }]);
      assert.equal((await a.extend(held, [20], 1)).kind, "admitted");
      assert.equal((await a.extend(held, [20], 1)).kind, "admitted");
      assert.equal((await a.read(key, spec)).held, 60);
      assert.equal((await a.extend(held, [50], 2)).kind, "refused");
      assert.equal((await a.extend(held, [50], 2, true)).kind, "admitted");
      assert.equal((await a.read(key, spec)).remaining, -10);
      assert.equal(await a.settle(held, [70]), "settled");
      assert.equal((await a.extend(held, [20], 3)).kind, "closed");
      assert.deepEqual([(await a.read(key, spec)).used, (await a.read(key, spec)).held], [70, 0]);
    });

    test("settle keeps the books exact: settled amounts plus open holds (L7)", async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (history) => {
          const key = newKey();
          const nowMs = clock.nowMs();
          // Nothing expires or refills while the history runs, and nothing refuses, so the books are plain sums.
          const specs = [
            rolling(1e15, 1e9),
            bucket(1e15, 1, 4e9),
            calendar(1e15, [nowMs - 1, nowMs + 1e9, nowMs + 2e9]),
          ];
          const open: { held: Held; amount: number }[] = [];
          const expected = { used: 0, held: 0 };
          for (const { advanceMs, action, amount, pick } of history) {
            clock.advance(advanceMs);
            if (action === "reserve" || open.length === 0) {
              const held = await (pick % 2 ? a : b).reserve(
                specs.map((spec) => ({ key, spec, hold: amount })),
              );
              open.push({ held, amount });
              expected.held += amount;
              continue;
            }
            const at = pick % open.length;
            if (action === "extend") {
              await a.extend(
                open[at].held,
                specs.map(() => amount),
                1,
              );
              // A second extension of the same step is none.
              if (!("extended" in open[at])) {
                Object.assign(open[at], { extended: true });
                open[at].amount += amount;
                expected.held += amount;
              }
              continue;
            }
            const [{ held, amount: was }] = open.splice(at, 1);
            expected.held -= was;
            if (action === "release") await b.release(held);
            else {
              await b.settle(
                held,
                specs.map(() => pick * 2),
              );
              expected.used += pick * 2;
            }
          }
          for (const spec of specs) {
            const { used, held } = await a.read(key, spec);
            assert.deepEqual({ used, held }, expected, spec.algorithm);
          }
        }),
        runs(60),
      );
    });

    test("settle gives a refund back to the sub-window of the charge, or nowhere (L7)", async () => {
      const [key, spec] = [newKey(), rolling(10, WINDOW_MS)];
      const early = await a.reserve([{ key, spec, hold: 6 }]);
      clock.advance(600);
      await a.reserve([{ key, spec, hold: 4 }]);
      clock.advance(500);
      // The first charge has passed: its refund must not free what the second one takes.
      assert.equal((await a.read(key, spec)).held, 4);
      await a.settle(early, [0]);
      assert.equal((await a.read(key, spec)).remaining, 6);
      assert.equal((await a.reserve([{ key, spec, hold: 7 }])).outcome.kind, "refused");
    });

    test("settle books more than was held as debt, which later calls wait for (L8)", async () => {
      const key = newKey();
      const nowMs = clock.nowMs();
      for (const spec of [
        rolling(10, WINDOW_MS),
        bucket(10, 10, WINDOW_MS),
        calendar(10, [nowMs - 1, nowMs + 1_000, nowMs + 2_000]),
      ]) {
        const held = await a.reserve([{ key, spec, hold: 2 }]);
        assert.equal(await a.settle(held, [15]), "settled");
        const { used, remaining } = await a.read(key, spec);
        assert.deepEqual([used, remaining], [15, -5], spec.algorithm);
        assert.equal((await a.reserve([{ key, spec, hold: 1 }])).outcome.kind, "refused", spec.algorithm);
      }
    });

    test("settle charges what a reservation used that the store does not know (L8)", async () => {
      const [key, spec] = [newKey(), rolling(10, MINUTE_MS)];
      assert.equal(
        await a.settle(
          { id: a.nextId(), asks: [{ key, spec, hold: 1 }], outcome: { kind: "closed", readings: [] } },
          [4],
        ),
        "unknown",
      );
      assert.equal((await b.read(key, spec)).used, 4);
    });

    test("concurrency of a gateway without a lease comes back, its charges stay (L9)", async () => {
      const [key, slots, tokens] = [newKey(), concurrency(2), rolling(100, 10 * MINUTE_MS)];
      const asks = [
        { key, spec: slots, hold: 1 },
        { key, spec: tokens, hold: 30 },
      ];
      await beat();
      const lost = [await a.reserve(asks), await a.reserve(asks)];
      assert.equal((await b.reserve(asks)).outcome.kind, "refused");
      clock.advance(LEASE_MS - 1);
      await b.store.beat(b.instance, LEASE_MS);
      assert.equal((await b.reserve(asks)).outcome.kind, "refused");
      clock.advance(2);
      assert.equal((await b.reserve(asks)).outcome.kind, "admitted");
      assert.equal((await b.read(key, tokens)).held, 90);
      assert.equal((await b.read(key, slots)).held, 1);
      // The gateway was only slow: what it closes late must not free the slots of the living.
      for (const held of lost) await a.settle(held, [1, 30]);
      assert.equal((await b.read(key, slots)).held, 1);
    });

    test("concurrency counts open calls and gives slots back on settle and release (L9)", async () => {
      const [key, slots] = [newKey(), concurrency(2)];
      await beat();
      const first = await a.reserve([{ key, spec: slots, hold: 1 }]);
      const second = await b.reserve([{ key, spec: slots, hold: 1 }]);
      assert.equal((await a.reserve([{ key, spec: slots, hold: 1 }])).outcome.kind, "refused");
      await a.settle(first, [1]);
      assert.equal((await b.read(key, slots)).held, 1);
      await b.release(second);
      assert.equal((await b.read(key, slots)).held, 0);
    });

    test("calendar limits start again at their boundary and not before (L13)", async () => {
      const start = clock.nowMs();
      const [key, spec] = [
        newKey(),
        calendar(5, [start - 10_000, start + 500, start + 1_500, start + 9_000]),
      ];
      const held = await a.reserve([{ key, spec, hold: 5 }]);
      clock.advance(499);
      const refused = await a.reserve([{ key, spec, hold: 1 }]);
      assert.equal(refused.outcome.kind === "refused" && refused.outcome.waitMs, 1);
      clock.advance(1);
      assert.equal((await a.reserve([{ key, spec, hold: 5 }])).outcome.kind, "admitted");
      await a.settle(held, [0]);
      assert.equal((await a.read(key, spec)).remaining, 0);
    });

    test("shadow limits count and report but never refuse", async () => {
      const [key, spec] = [newKey(), rolling(2, MINUTE_MS, { shadow: true })];
      const asks = [{ key, spec, hold: 2 }];
      const first = await a.reserve(asks);
      const second = await a.reserve(asks);
      const third = await a.reserve([{ key, spec, hold: 3 }]);
      assert.deepEqual(
        [first, second, third].map(({ outcome }) => outcome.kind === "admitted" && outcome.overShadow),
        [[], [0], [0]],
      );
      assert.equal((await a.read(key, spec)).held, 7);
    });

    test("reserve looks at need and charges hold", async () => {
      const [key, spec] = [newKey(), rolling(2, MINUTE_MS)];
      const first = await a.reserve([{ key, spec, hold: 0, need: 1 }]);
      assert.equal((await a.read(key, spec)).held, 0);
      await a.settle(first, [9]);
      assert.equal((await a.reserve([{ key, spec, hold: 0, need: 1 }])).outcome.kind, "refused");
    });

    test("amounts keep every digit up to 2^53", async () => {
      const key = newKey();
      const [money, slow] = [
        rolling(9_007_199_254_740_991, MINUTE_MS),
        bucket(9_007_199_254_740_000, 9_007_199_254_740_000, 2_678_400_000),
      ];
      const amount = 4_503_599_627_370_497;
      await a.reserve([
        { key, spec: money, hold: amount },
        { key, spec: slow, hold: amount },
      ]);
      assert.equal((await a.read(key, money)).remaining, 9_007_199_254_740_991 - amount);
      clock.advance(12_345);
      const gained = Number((12_345n * 9_007_199_254_740_000n) / 2_678_400_000n);
      assert.equal((await a.read(key, slow)).remaining, 9_007_199_254_740_000 - amount + gained);
    });

    if (isReference) return;
    test("the same history has the same answers as in memory (L11)", async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (history) => {
          const keys = [newKey(), newKey()];
          const reference = new Gateway(new MemoryLimitStore(clock));
          const tested = new Gateway(a.store, reference.instance);
          const specs = [...timedSpecs(clock.nowMs()), concurrency(3)];
          const open: [Held, Held][] = [];
          try {
            for (const { advanceMs, action, amount, pick } of history) {
              clock.advance(advanceMs);
              await Promise.all(
                [reference, tested].map((gateway) => gateway.store.beat(gateway.instance, LEASE_MS)),
              );
              if (action === "reserve" || open.length === 0) {
                const asks = specs.map((spec, i) => ({
                  key: keys[i % 3 === 0 ? 1 : 0],
                  spec,
                  hold: Math.min(amount, spec.capacity),
                }));
                asks.sort((x, y) => x.key.localeCompare(y.key));
                const chosen = asks.filter((_, i) => i === 0 || (pick >> (i % 4)) % 2 === 0);
                const pair: [Held, Held] = [await reference.reserve(chosen), await tested.reserve(chosen)];
                assert.deepEqual(pair[1].outcome, pair[0].outcome);
                if (pair[0].outcome.kind === "admitted") open.push(pair);
              } else if (action === "extend") {
                const [mine, theirs] = open[pick % open.length];
                const amounts = mine.asks.map(({ spec }) => Math.min(amount, spec.capacity));
                const force = pick > 5;
                assert.deepEqual(
                  await tested.extend(theirs, amounts, pick, force),
                  await reference.extend(mine, amounts, pick, force),
                );
              } else {
                const [[mine, theirs]] = open.splice(pick % open.length, 1);
                if (action === "release")
                  assert.equal(await tested.release(theirs), await reference.release(mine));
                else {
                  const actuals = mine.asks.map(() => pick);
                  assert.equal(await tested.settle(theirs, actuals), await reference.settle(mine, actuals));
                }
              }
              for (const spec of specs) {
                for (const key of keys)
                  assert.deepEqual(await tested.read(key, spec), await reference.read(key, spec));
              }
            }
          } finally {
            await reference.store.close();
          }
        }),
        runs(40),
      );
    });
  });
}
