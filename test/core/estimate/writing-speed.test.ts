import assert from "node:assert/strict";
import { test } from "node:test";
import { WritingSpeed } from "../../../src/core/estimate/writing-speed.ts";

/** Per second, told of long times: what comes before the first model token hardly counts. */
const speedOf = (speed: WritingSpeed, model = "gpt-4o") =>
  speed.writtenAfter("openai", model, 1_000.5) / 1_000;

test("WritingSpeed takes 50 model tokens a second for granted, after half a second (E2)", () => {
  const speed = new WritingSpeed();
  assert.equal(speed.writtenAfter("openai", "gpt-4o", 0), 0);
  assert.equal(speed.writtenAfter("openai", "gpt-4o", 0.5), 0);
  assert.equal(speed.writtenAfter("openai", "gpt-4o", 2.5), 100);
});

test("WritingSpeed learns how fast a model is, and follows when that changes (E2)", () => {
  const speed = new WritingSpeed();
  for (let i = 0; i < 200; i++) speed.learn("openai", "gpt-4o", 1_000, 50.5);
  assert.ok(speedOf(speed) > 19 && speedOf(speed) < 23, `${speedOf(speed)}`);
  assert.equal(speedOf(speed, "gpt-4o-mini"), 50);
  for (let i = 0; i < 500; i++) speed.learn("openai", "gpt-4o", 1_000, 10.5);
  assert.ok(speedOf(speed) > 95, `${speedOf(speed)}`);
});

test("WritingSpeed is the mean of answers that differ by 40 % (E2)", () => {
  const speed = new WritingSpeed();
  let sum = 0;
  for (let i = 0; i < 400; i++) {
    // The quantiles of a normal distribution, near enough: twelve numbers in the middle between their neighbours (Irwin and Hall).
    let deviation = -6;
    for (let j = 1; j <= 12; j++) deviation += ((i * j * 7_919) % 10_007) / 10_007;
    const each = 60 * Math.exp(0.4 * deviation);
    sum += each;
    speed.learn("openai", "gpt-4o", 10 * each, 10.5);
  }
  assert.ok(Math.abs(speedOf(speed) / (sum / 400) - 1) < 0.1, `${speedOf(speed)}, not ${sum / 400}`);
});

test("WritingSpeed does not learn from short answers, nor from what cannot be", () => {
  const speed = new WritingSpeed();
  for (const [tokens, seconds] of [
    [10, 5],
    [1_000, 0],
    [1_000, -5],
    [1_000, Number.NaN],
    [Number.NaN, 5],
    [Number.POSITIVE_INFINITY, 5],
    [-1_000, 5],
  ]) {
    speed.learn("openai", "gpt-4o", tokens, seconds);
  }
  assert.equal(speedOf(speed), 50);
  assert.equal(speed.writtenAfter("openai", "gpt-4o", -5), 0);
});

test("WritingSpeed forgets models that clients have made up (X5)", () => {
  const speed = new WritingSpeed();
  speed.learn("openai", "gpt-4o", 10_000, 10.5);
  for (let i = 0; i < 1_000; i++) speed.learn("openai", `made-up-${i}`, 1_000, 10.5);
  assert.equal(speedOf(speed), 50);
  assert.notEqual(speedOf(speed, "made-up-999"), 50);
});
