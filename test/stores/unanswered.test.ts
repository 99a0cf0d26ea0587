import assert from "node:assert/strict";
import { test } from "node:test";
import { Unanswered } from "../../src/stores/redis/unanswered.ts";
import { holdTime } from "../support/process-time.ts";

const AFTER_MS = 250;
const id = (sequence: number) => ({ instance: 1, sequence });

test("Unanswered makes steps good until it succeeds, none of them before its time (L6, Q5)", async (t) => {
  const { advance } = holdTime(t);
  const tried: { readonly step: string; readonly afterMs: number }[] = [];
  const added = new Map<string, number>();
  const steps = new Unanswered<string>(async (step) => {
    tried.push({ step, afterMs: performance.now() - (added.get(step) ?? 0) });
    return tried.filter((one) => one.step === step).length === 2;
  }, AFTER_MS);
  const add = (step: string, sequence: number) => {
    added.set(step, performance.now());
    steps.add(id(sequence), step);
  };
  add("early", 1);
  await advance(AFTER_MS / 2);
  add("late", 2);
  await advance(10 * AFTER_MS);
  assert.equal(steps.size, 0);
  assert.deepEqual(tried.map(({ step }) => step).sort(), ["early", "early", "late", "late"]);
  for (const { step, afterMs } of tried) assert.ok(afterMs >= AFTER_MS, `${step} after ${afterMs} ms`);
  steps.close();
});

test("Unanswered does not burden a store that is still away with all that it has", async (t) => {
  const { advance } = holdTime(t);
  let tries = 0;
  const steps = new Unanswered<number>(async () => {
    tries += 1;
    throw new Error("still away");
  }, AFTER_MS);
  for (let i = 0; i < 1_000; i++) steps.add(id(i), i);
  await advance(AFTER_MS + 10);
  assert.equal(tries, 64);
  assert.equal(steps.size, 1_000);
  steps.close();
});

test("Unanswered lets a step be taken out, also while it is tried, and keeps nothing once it is closed", async (t) => {
  const { advance } = holdTime(t);
  const answer = Promise.withResolvers<boolean>();
  let tries = 0;
  const steps = new Unanswered<string>(() => {
    tries += 1;
    return answer.promise;
  }, AFTER_MS);
  steps.add(id(1), "one");
  await advance(AFTER_MS);
  assert.equal(tries, 1);
  assert.equal(steps.take(id(1)), "one");
  // Under the same name again: what is tried is another step.
  steps.add(id(1), "another");
  answer.resolve(true);
  await advance(1);
  assert.equal(steps.take(id(1)), "another");
  assert.equal(steps.take(id(1)), undefined);
  steps.close();
  steps.add(id(2), "two");
  assert.equal(steps.size, 0);
});
