import assert from "node:assert/strict";
import { test } from "node:test";
import { chargeConcurrency, readConcurrency } from "../../../src/core/limits/concurrency.ts";
import { emptyState, findEntry } from "../../../src/core/limits/subject-state.ts";
import { concurrency } from "../../contract/limit-specs.ts";

test("chargeConcurrency forgets what gateways held that are dead: they come and go for years (L9, L10)", () => {
  const spec = concurrency(5);
  const state = emptyState();
  let living = 1;
  const isAlive = (instance: number) => instance === living;
  chargeConcurrency(state, spec, living, 1, isAlive);
  const length = state.length;
  for (living = 2; living < 100; living++) {
    chargeConcurrency(state, spec, living, 1, isAlive);
    assert.equal(readConcurrency(state, findEntry(state, spec.id), spec, isAlive).held, 1);
  }
  assert.ok(state.length <= length, `${state.length} numbers for one open call`);
});
