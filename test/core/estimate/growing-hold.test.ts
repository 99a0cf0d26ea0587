import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GrowingHold } from "../../../src/core/estimate/growing-hold.ts";
import { runs } from "../../support/property.ts";

/** Emits chunk after chunk, with every extension granted before the next; returns the extensions. */
function stream(hold: GrowingHold, chunks: readonly number[]) {
  const steps: number[] = [];
  let emitted = 0;
  let slices = 0;
  for (const chunk of chunks) {
    emitted += chunk;
    const due = hold.due(emitted);
    if (due === undefined) continue;
    steps.push(due.step);
    slices += due.outputTokens;
    assert.equal(hold.due(emitted), undefined, "one at a time");
    hold.extended();
  }
  return { steps, slices, emitted };
}

const chunks = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });

test("GrowingHold holds what is emitted, never more than the call's own maximum, in steps that count up (E5)", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 500 }),
      fc.option(fc.nat({ max: 4_000 }), { nil: undefined }),
      chunks,
      (start, max, sent) => {
        const held = max === undefined ? start : Math.min(start, max);
        const bounded = sent.map((chunk) => Math.min(chunk, Math.floor((max ?? 1e9) / sent.length)));
        const hold = new GrowingHold(held, max);
        const { steps, slices, emitted } = stream(hold, bounded);
        assert.ok(hold.heldTokens >= emitted);
        assert.ok(hold.heldTokens <= (max ?? Number.POSITIVE_INFINITY));
        assert.equal(hold.heldTokens, held + slices);
        assert.deepEqual(
          steps,
          steps.map((_, i) => i + 1),
        );
      },
    ),
    runs(200),
  );
});

test("GrowingHold extends before the hold is full, and not while it is far from it", () => {
  const hold = new GrowingHold(1_000, undefined);
  assert.equal(hold.due(899), undefined);
  assert.deepEqual(hold.due(900), { step: 1, outputTokens: 500 });
  hold.extended();
  assert.equal(hold.due(1_349), undefined);
  assert.deepEqual(hold.due(1_350), { step: 2, outputTokens: 750 });
});

test("GrowingHold needs few extensions for a stream that is a hundred times its hold", () => {
  const hold = new GrowingHold(100, undefined);
  const { steps, emitted } = stream(
    hold,
    Array.from({ length: 10_000 }, () => 1),
  );
  assert.ok(steps.length <= 12, `${steps.length}`);
  assert.ok(hold.heldTokens <= 1.7 * emitted, `${hold.heldTokens}`);
});

test("GrowingHold asks for the same step again when nobody knows whether it happened (L6)", () => {
  const hold = new GrowingHold(100, undefined);
  const first = hold.due(95);
  hold.unknown();
  assert.deepEqual(hold.due(5_000), first);
  hold.extended();
  assert.equal(hold.due(5_000)?.step, 2);
});

test("GrowingHold asks for nothing more at the call's own maximum, nor once a limit is exhausted (E5)", () => {
  const atMaximum = new GrowingHold(100, 120);
  assert.deepEqual(atMaximum.due(100), { step: 1, outputTokens: 20 });
  atMaximum.extended();
  assert.equal(atMaximum.due(130), undefined);
  const beyond = new GrowingHold(200, 120);
  assert.equal(beyond.due(1_000), undefined);
  const cut = new GrowingHold(100, undefined);
  cut.due(100);
  cut.exhausted();
  assert.equal(cut.due(1_000), undefined);
});

test("GrowingHold asks for half of what was refused, under the same step, as long as that is worth it", () => {
  const hold = new GrowingHold(400, undefined);
  const due = hold.due(400);
  assert.deepEqual(due, { step: 1, outputTokens: 200 });
  const asked: number[] = [];
  for (let next = hold.smaller(); next !== undefined; next = hold.smaller()) {
    assert.equal(next.step, 1);
    asked.push(next.outputTokens);
  }
  assert.deepEqual(asked, [100, 50, 25]);
  hold.extended();
  assert.equal(hold.heldTokens, 425);
  assert.equal(hold.due(425)?.step, 2);
});

test("GrowingHold uses up what is held before a refusal is final", () => {
  const hold = new GrowingHold(400, undefined);
  assert.ok(hold.due(370) !== undefined);
  assert.equal(hold.usesRest(370), true);
  assert.equal(hold.due(399), undefined);
  assert.equal(hold.due(400)?.step, 1);
  assert.equal(hold.usesRest(400), false);
});
