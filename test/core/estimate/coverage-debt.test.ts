import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CoverageDebt } from "../../../src/core/estimate/coverage-debt.ts";
import { runs } from "../../support/property.ts";

const ALLOWED = 0.1;

test("CoverageDebt raises the aim for misses beyond the allowed share until they are paid back, within bounds (E2)", () => {
  const debt = new CoverageDebt(ALLOWED);
  for (let i = 0; i < 30; i++) debt.end(undefined, true);
  const raised = debt.aimRaise;
  assert.ok(raised > 0.02 && raised < 0.03, `${raised}`);
  for (let i = 0; i < 270; i++) debt.end(undefined, false);
  assert.ok(Math.abs(debt.aimRaise) < 1e-9);
  for (let i = 0; i < 10_000; i++) debt.end(undefined, false);
  assert.ok(debt.aimRaise >= -0.01);
  for (let i = 0; i < 10_000; i++) debt.end(undefined, true);
  assert.ok(debt.aimRaise <= 0.05);
  for (let i = 0; i < 1_000; i++) debt.end(undefined, false);
  assert.ok(debt.aimRaise <= 1e-9, "what could not be paid back within 1,000 calls is forgiven");
});

test("CoverageDebt counts each call once, as what it was at its end, whatever was expected of it meanwhile (E2)", () => {
  const risks = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 });
  fc.assert(
    fc.property(
      fc.array(fc.record({ risks, end: fc.constantFrom(true, false, undefined) }), { maxLength: 20 }),
      (calls) => {
        const [told, plain] = [new CoverageDebt(ALLOWED), new CoverageDebt(ALLOWED)];
        // So much debt that nothing is cut off at the bounds.
        for (const debt of [told, plain]) for (let i = 0; i < 40; i++) debt.end(undefined, true);
        const last = calls.map((call) => {
          let before: number | undefined;
          for (const risk of call.risks) {
            told.expect(before, risk);
            before = risk;
          }
          return before;
        });
        calls.forEach(({ end }, i) => {
          if (end === undefined) told.forget(last[i]);
          else told.end(last[i], end);
          if (end !== undefined) plain.end(undefined, end);
        });
        assert.ok(Math.abs(told.aimRaise - plain.aimRaise) < 1e-9);
      },
    ),
    runs(200),
  );
});
