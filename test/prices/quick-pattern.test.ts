import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isQuickPattern } from "../../src/prices/quick-pattern.ts";
import { runs } from "../support/property.ts";

const NAME_LENGTH_MAX = 256;
/** A machine that is busy included: what is refused takes years. */
const MATCH_MS_MAX = 1_000;

test("isQuickPattern allows what lists of prices are made of", () => {
  for (const pattern of [
    "^gpt-5-mini-\\d{4}-\\d{2}-\\d{2}$",
    "^o[134]",
    "^grok-4\\.6\\[fast=true\\]$",
    "^(?!.*-[tT][tT][sS](?:$|-))",
    "^(?![^/]+/)(?:labs-)?(?:(?:mi|code|dev|magi|mini)stral|mixtral|pixtral|voxtral|open-(?:mistral|mixtral))",
    "https://.*\\.openai\\.azure\\.com",
    "a\\)+b[)*]+",
  ]) {
    assert.ok(isQuickPattern(pattern), pattern);
  }
});

test("isQuickPattern refuses what can take for ever, in every way of writing it (X3)", () => {
  for (const pattern of [
    "(a+)+$",
    "(?:a*)*$",
    "([a-z]+)*$",
    "(a|a)*$",
    "(a|aa){1,}$",
    "(a?){50}$",
    "(?=(a+)+$)",
    "(?<x>a+)+$",
    "(a*)\\1$",
    "(?<x>a*)\\k<x>$",
    "a*a*a*$",
    "^x|a*a*(a|a)$",
    `${"a?".repeat(30)}${"a".repeat(30)}$`,
    `${"(a|a)".repeat(30)}$`,
    "a{1,200}a{1,200}a{1,200}$",
    "(a+\n)+$",
    "x".repeat(301),
  ]) {
    assert.equal(isQuickPattern(pattern), false, pattern);
  }
  assert.throws(() => isQuickPattern("("), SyntaxError);
});

test("whatever isQuickPattern allows is done soon with the worst names (X3)", { timeout: 100_000 }, () => {
  const piece = fc.constantFrom(
    "a",
    ".",
    "[ab]",
    "\\w",
    "a+",
    "a*",
    ".*",
    "a?",
    "a{2}",
    "a{1,9}",
    "(a|a)",
    "(?:a|aa)?",
    "(a+)",
    "(?!a*b)",
  );
  const pattern = fc.array(piece, { minLength: 1, maxLength: 24 }).map((pieces) => `${pieces.join("")}$`);
  const name = fc.nat(NAME_LENGTH_MAX - 1).map((length) => `${"a".repeat(length)}!`);
  fc.assert(
    fc.property(pattern.filter(isQuickPattern), name, (allowed, worst) => {
      const startedMs = performance.now();
      new RegExp(allowed).test(worst);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < MATCH_MS_MAX, `${allowed} took ${tookMs} ms`);
    }),
    runs(200),
  );
});
