import assert from "node:assert/strict";
import { before, test } from "node:test";
import fc from "fast-check";
import type { ManualClock } from "../support/manual-clock.ts";
import { runs } from "../support/property.ts";
import type { Gateway, Held } from "./gateway.ts";
import { longSteps, newKey, WINDOW_MS } from "./histories.ts";
import { bucket, calendar, rolling } from "./limit-specs.ts";

/** A store's clock, and two gateways on the store. */
interface Doors {
  readonly clock: ManualClock;
  readonly a: Gateway;
  readonly b: Gateway;
}

/** The part of the limit store's contract that is about time passing: within a `describe` whose `before` has opened the store. */
export function timeContract(doors: () => Doors): void {
  let clock: ManualClock;
  let a: Gateway;
  let b: Gateway;
  before(() => {
    ({ clock, a, b } = doors());
  });

  test("reserve never lets more than the limit into any window (L2)", async () => {
    await fc.assert(
      fc.asyncProperty(longSteps, async (history) => {
        const spec = rolling(10, WINDOW_MS);
        const key = newKey();
        const charged: { atMs: number; amount: number }[] = [];
        const open: { held: Held; entry: { amount: number } }[] = [];
        for (const { advanceMs, action, amount, pick } of history) {
          clock.advance(advanceMs);
          if (action === "reserve" || open.length === 0) {
            const held = await (pick % 2 ? a : b).reserve([{ key, spec, hold: amount }]);
            if (held.outcome.kind !== "admitted") continue;
            const entry = { atMs: clock.nowMs(), amount };
            charged.push(entry);
            open.push({ held, entry });
          } else {
            // Less than was held: what is used beyond a hold is debt, which no limit can prevent.
            const [{ held, entry }] = open.splice(pick % open.length, 1);
            const used = Math.min(entry.amount, pick);
            await a.settle(held, [used]);
            entry.amount = used;
          }
          for (const { atMs: fromMs } of charged) {
            const inside = charged.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + WINDOW_MS);
            const sum = inside.reduce((total, { amount }) => total + amount, 0);
            assert.ok(sum <= spec.capacity, `${sum} in a window`);
          }
        }
      }),
      runs(100),
    );
  });

  test("reserve finds all of a rolling limit again after one window without calls (L2)", async () => {
    const [spec, key] = [rolling(10, WINDOW_MS), newKey()];
    for (let i = 0; i < 10; i++) {
      await a.reserve([{ key, spec, hold: 1 }]);
      clock.advance(37);
    }
    clock.advance(WINDOW_MS - 37);
    assert.equal((await a.reserve([{ key, spec, hold: 10 }])).outcome.kind, "admitted");
  });

  test("reserve grants steady demand at least 1 − 1/N of a rolling limit (L2)", async () => {
    const [spec, key] = [rolling(50, WINDOW_MS), newKey()];
    let admitted = 0;
    const seconds = 12;
    for (let i = 0; i < seconds * 80; i++) {
      if ((await a.reserve([{ key, spec, hold: 1 }])).outcome.kind === "admitted") admitted += 1;
      clock.advance(WINDOW_MS / 80);
    }
    assert.ok(admitted >= (1 - 1 / 10) * 50 * seconds, `${admitted} of ${50 * seconds}`);
  });

  test("reserve counts a sub-window until its last charge is a window old, and not its first (L2)", async () => {
    const [spec, key] = [rolling(10, WINDOW_MS), newKey()];
    await a.reserve([{ key, spec, hold: 1 }]);
    clock.advance(99);
    await b.reserve([{ key, spec, hold: 9 }]);
    // A window after the first charge the second one is 99 ms short of it.
    clock.advance(WINDOW_MS - 98);
    assert.equal((await a.reserve([{ key, spec, hold: 2 }])).outcome.kind, "refused");
    assert.equal((await a.read(key, spec)).held, 10);
    clock.advance(98);
    assert.equal((await a.reserve([{ key, spec, hold: 10 }])).outcome.kind, "admitted");
  });

  test("reserve finds in a bucket what has flowed in to the last fraction, however often it was looked at (L7)", async () => {
    for (const spec of [
      bucket(8, 10, WINDOW_MS),
      bucket(300, 7, 777),
      bucket(1e12, 333_333_333_331, 59_999),
    ]) {
      const key = newKey();
      // The level in units of 1 / windowMs: integers, as exact as the store's promise.
      const [full, unit] = [BigInt(spec.capacity) * BigInt(spec.windowMs), BigInt(spec.windowMs)];
      const hold = Math.max(1, Math.floor(spec.refill / spec.windowMs));
      let level = full;
      let admitted = 0;
      for (let i = 0; i < 1_000; i++) {
        const elapsedMs = (i * 7) % 4;
        clock.advance(elapsedMs);
        const refilled = level + BigInt(spec.refill) * BigInt(elapsedMs);
        level = refilled > full ? full : refilled;
        const fits = level >= BigInt(hold) * unit;
        // The first empties it, so that from then on it is between full and empty.
        const amount = i === 0 ? spec.capacity : hold;
        const { outcome } = await (i % 2 ? a : b).reserve([{ key, spec, hold: amount }]);
        assert.equal(outcome.kind, fits ? "admitted" : "refused", `${spec.refill}: call ${i}`);
        if (!fits) continue;
        level -= BigInt(amount) * unit;
        admitted += 1;
      }
      assert.equal((await a.read(key, spec)).remaining, Number(level / unit));
      assert.ok(admitted > 10, `${admitted} admitted`);
    }
  });

  test("reserve gives no credit for a clock that steps back, by a little or by a lot (L5)", async () => {
    for (const backMs of [1, 999, 9_999, 10_001, 3_600_000]) {
      const key = newKey();
      const start = clock.nowMs();
      const specs = [
        rolling(4, WINDOW_MS),
        bucket(4, 4, WINDOW_MS),
        calendar(4, [start - 1, start + WINDOW_MS, start + 2 * WINDOW_MS]),
      ];
      const asks = specs.map((spec) => ({ key, spec, hold: 4 }));
      assert.equal((await a.reserve(asks)).outcome.kind, "admitted");
      clock.advance(-backMs);
      for (const ask of asks) assert.equal((await b.reserve([{ ...ask, hold: 1 }])).outcome.kind, "refused");
      clock.set(start);
    }
  });

  test("reserve counts time once that a clock goes through twice (L5)", async () => {
    for (const backMs of [1, 250, 999]) {
      const key = newKey();
      const start = clock.nowMs();
      const specs = [
        rolling(4, WINDOW_MS),
        bucket(4, 4, WINDOW_MS),
        calendar(4, [start - 1, start + WINDOW_MS, start + 2 * WINDOW_MS]),
      ];
      const asks = specs.map((spec) => ({ key, spec, hold: 4 }));
      const held = await a.reserve(asks);
      clock.advance(-backMs);
      // All that writes: what is charged unasked, what asks for nothing, what is settled.
      const [none, unasked] = [specs.map(() => 0), specs.map((spec) => ({ key, spec, hold: 0 }))];
      await b.reserve(unasked);
      await a.extend(held, none, 1, true);
      await a.settle(held, [4, 4, 4]);
      clock.set(start);
      for (const spec of specs) {
        const ask = { key, spec, hold: 1 };
        assert.equal(
          (await b.reserve([ask])).outcome.kind,
          "refused",
          `${spec.algorithm}, ${backMs} ms back`,
        );
      }
      // The window of what was charged before the step ends when it would have.
      clock.advance(WINDOW_MS - 1);
      assert.equal((await b.reserve([asks[0]])).outcome.kind, "refused");
      clock.advance(1);
      for (const ask of asks)
        assert.equal((await b.reserve([ask])).outcome.kind, "admitted", ask.spec.algorithm);
    }
  });

  test("reserve goes on at most one window after a clock that was ahead by a year has come back (L5)", async () => {
    const [key, spec, level] = [newKey(), rolling(4, WINDOW_MS), bucket(4, 4, WINDOW_MS)];
    const yearMs = 365 * 24 * 3_600_000;
    const asks = [
      { key, spec, hold: 4 },
      { key, spec: level, hold: 4 },
    ];
    clock.advance(yearMs);
    assert.equal((await a.reserve(asks)).outcome.kind, "admitted");
    clock.advance(-yearMs);
    assert.equal((await a.reserve(asks)).outcome.kind, "refused");
    clock.advance(WINDOW_MS);
    assert.equal((await a.reserve(asks)).outcome.kind, "admitted");
  });
}
