import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileGlob } from "../../../src/core/policy/glob.ts";
import { runs } from "../../support/property.ts";

/** Few letters, so that parts overlap and repeat. */
const glob = fc.array(fc.constantFrom("a", "b", "*", "."), { maxLength: 8 }).map((parts) => parts.join(""));
const text = fc.array(fc.constantFrom("a", "b", "."), { maxLength: 10 }).map((parts) => parts.join(""));

test("compileGlob agrees with a regular expression", () => {
  const property = fc.property(glob, text, (pattern, value) => {
    const source = pattern.replaceAll(".", "\\.").replaceAll("*", ".*");
    assert.equal(
      compileGlob(pattern)(value),
      new RegExp(`^${source}$`, "s").test(value),
      `${pattern} on ${value}`,
    );
  });
  fc.assert(property, runs(3_000));
});

test("compileGlob takes everything but * as it is", () => {
  assert.ok(compileGlob("gpt-4*")("gpt-4o-mini"));
  assert.ok(!compileGlob("gpt-4*")("Gpt-4o"));
  assert.ok(!compileGlob("gpt-4.1")("gpt-4x1"));
  assert.ok(compileGlob("a?[b]")("a?[b]"));
});

test("compileGlob takes no exponential time on a hostile text (X3)", () => {
  const matches = compileGlob(`${"*a".repeat(50)}*b`);
  const startedMs = performance.now();
  assert.ok(!matches("a".repeat(100_000)));
  assert.ok(performance.now() - startedMs < 500);
});
