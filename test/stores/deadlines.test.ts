import assert from "node:assert/strict";
import { test } from "node:test";
import { type DeadlineList, Deadlines, type Timed } from "../../src/stores/memory/deadlines.ts";
import { holdTime } from "../support/process-time.ts";

class One implements Timed<One> {
  deadlineMs = 0;
  sooner: One | undefined = undefined;
  later: One | undefined = undefined;
  deadlines: DeadlineList<One> | undefined = undefined;
  readonly sinceMs = performance.now();
}

test("Deadlines ends each at its own time, also those that were given the same time as others (Q4)", async (t) => {
  const { advance } = holdTime(t);
  const ended: (readonly [forMs: number, afterMs: number])[] = [];
  const given = new Map<One, number>();
  const deadlines = new Deadlines<One>((one) =>
    ended.push([given.get(one) ?? 0, performance.now() - one.sinceMs]),
  );
  const add = (forMs: number) => {
    const one = new One();
    given.set(one, forMs);
    deadlines.add(one, forMs);
    return one;
  };
  add(200);
  await advance(30);
  const dropped = add(200);
  await advance(30);
  add(60);
  await advance(30);
  add(200);
  deadlines.remove(dropped);
  deadlines.remove(dropped);
  await advance(400);
  assert.deepEqual(
    ended.map(([forMs]) => forMs),
    [60, 200, 200],
  );
  // A timer counts in whole milliseconds.
  for (const [forMs, afterMs] of ended) assert.ok(Math.abs(afterMs - forMs) <= 2, `${forMs}: ${afterMs}`);
  assert.deepEqual(deadlines.clear(), []);
});

test("Deadlines clear gives all back, without their ends (L12)", async (t) => {
  const { advance } = holdTime(t);
  const ended: One[] = [];
  const deadlines = new Deadlines<One>((one) => ended.push(one));
  const all = [20, 20, 30].map((forMs) => {
    const one = new One();
    deadlines.add(one, forMs);
    return one;
  });
  assert.deepEqual(new Set(deadlines.clear()), new Set(all));
  await advance(100);
  assert.deepEqual(ended, []);
});
