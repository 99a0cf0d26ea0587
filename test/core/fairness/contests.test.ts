import assert from "node:assert/strict";
import { test } from "node:test";
import { Contests } from "../../../src/core/fairness/contest.ts";
import type { PermitRequest } from "../../../src/core/fairness/permit.ts";
import { contestKey } from "../../../src/core/fairness/places.ts";
import { concurrency } from "../../contract/limit-specs.ts";

const SPEC = concurrency(1);

/** A call with a limit of its own and limits that it shares. */
function asking(...shared: readonly string[]): PermitRequest {
  const keys = ["user=u", ...shared];
  return {
    subjects: keys.map((key) => ({ key, charges: [{ spec: SPEC, hold: 1, need: 1 }] })),
    isShared: keys.map((_, i) => i > 0),
    flow: "u",
    priority: "normal",
    weight: 1,
    size: 1,
    bytes: 1,
    maxWaitMs: 1,
  };
}

const contestOf = (contests: Contests, ...shared: readonly string[]) => {
  const request = asking(...shared);
  return contests.of(request, contestKey(request));
};

test("Contests knows who is in whose way: those who share a limit, and not through a third (Q1)", () => {
  const contests = new Contests();
  const a = contestOf(contests, "a");
  const ab = contestOf(contests, "a", "b");
  const bc = contestOf(contests, "b", "c");
  const none = contestOf(contests);
  assert.equal(contestOf(contests, "a", "b"), ab);
  assert.deepEqual(contests.rivals(a), new Set([a, ab]));
  assert.deepEqual(contests.rivals(ab), new Set([ab, a, bc]));
  assert.deepEqual(contests.rivals(none), new Set([none]), "nobody is in its way");
  assert.deepEqual(contests.withRivals(new Set([a, none])), new Set([a, none, ab]));
  assert.deepEqual(contests.withRivals(new Set([bc])), new Set([bc, ab]));
  assert.deepEqual([...contests.sharing("b")], [ab, bc]);
  assert.deepEqual(ab.shared, ["a", "b"]);
});

test("Contests keeps nothing of one that nobody takes part in (Q6)", () => {
  const contests = new Contests();
  const a = contestOf(contests, "a");
  const ab = contestOf(contests, "a", "b");
  a.lanes += 1;
  contests.dropIdle(a);
  contests.dropIdle(ab);
  assert.equal(contests.size, 1);
  assert.deepEqual([...contests.sharing("a")], [a]);
  assert.equal(contests.sharing("b").size, 0);
  a.lanes -= 1;
  contests.dropIdle(a);
  assert.equal(contests.size, 0);
  assert.equal(contests.sharing("a").size, 0);
  assert.deepEqual(contests.rivals(contestOf(contests, "a")).size, 1);
});
