import assert from "node:assert/strict";
import { test } from "node:test";
import { type Contest, Contests } from "../../../src/core/fairness/contest.ts";
import type { PermitRequest } from "../../../src/core/fairness/permit.ts";
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

const contestOf = (contests: Contests, ...shared: readonly string[]) => contests.of(asking(...shared));
const rivalsOf = (contests: Contests, ...of: readonly Contest[]) => new Set(contests.withRivals(of));

test("Contests knows who is in whose way: those who share a limit, and not through a third (Q1)", () => {
  const contests = new Contests();
  const a = contestOf(contests, "a");
  const ab = contestOf(contests, "a", "b");
  const bc = contestOf(contests, "b", "c");
  const none = contestOf(contests);
  assert.equal(contestOf(contests, "a", "b"), ab);
  assert.deepEqual(rivalsOf(contests, a), new Set([a, ab]));
  assert.deepEqual(rivalsOf(contests, ab), new Set([ab, a, bc]));
  assert.deepEqual(rivalsOf(contests, none), new Set([none]), "nobody is in its way");
  assert.deepEqual(rivalsOf(contests, a, none), new Set([a, none, ab]));
  assert.deepEqual(rivalsOf(contests, bc), new Set([bc, ab]));
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
  assert.equal(contests.sharing("b").length, 0);
  a.lanes -= 1;
  contests.dropIdle(a);
  assert.equal(contests.size, 0);
  assert.equal(contests.sharing("a").length, 0);
  assert.equal(rivalsOf(contests, contestOf(contests, "a")).size, 1);
});
