import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IndexedHeap, Slots } from "../../../src/core/fairness/indexed-heap.ts";
import { runs } from "../../support/property.ts";

test("IndexedHeap has the least first, and the next ones in order, after any changes", () => {
  const step = fc.record({
    what: fc.constantFrom("put", "put", "put", "remove"),
    item: fc.nat(30),
    value: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const values = new Map<number, number>();
      const before = (a: number, b: number) => {
        const difference = (values.get(a) ?? 0) - (values.get(b) ?? 0);
        return difference === 0 ? a < b : difference < 0;
      };
      const slots = new Slots<number>();
      const slotOf = Array.from({ length: 31 }, (_, item) => slots.take(item));
      const heap = new IndexedHeap<number>(slots);
      const inside = new Set<number>();
      for (const { what, item, value } of steps) {
        if (what === "remove") {
          heap.remove(slotOf[item]);
          inside.delete(item);
        } else {
          values.set(item, value);
          heap.put(slotOf[item], value, item);
          inside.add(item);
        }
        const sorted = [...inside].sort((a, b) => (before(a, b) ? -1 : 1));
        assert.equal(heap.has(slotOf[item]), inside.has(item));
        assert.equal(heap.size, sorted.length);
        assert.equal(heap.first, sorted[0]);
        assert.equal(heap.firstKey, sorted.length === 0 ? Number.POSITIVE_INFINITY : values.get(sorted[0]));
        const next: number[] = [];
        heap.next(4, next);
        assert.deepEqual(next, sorted.slice(1, 5));
      }
    }),
    runs(200),
  );
});
