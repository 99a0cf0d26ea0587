import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Scope } from "../../../src/core/policy/policy.ts";
import { subjectKey } from "../../../src/core/policy/subject-key.ts";
import { runs } from "../../support/property.ts";

/** Values full of separators, escapes, lone surrogates and names of scopes. */
const value = fc
  .array(fc.constantFrom("a", "|", "%", "=", "|user=", "%7c;", "%d800;", "\ud800", "\udc00", "\ufffd", "é"), {
    minLength: 1,
    maxLength: 4,
  })
  .map((parts) => parts.join(""));
const scope = fc.constantFrom<readonly Scope[]>(["user"], ["feature"], ["feature", "user"], ["team", "user"]);

test("subjectKey is readable", () => {
  const attributes = { user: "alice", feature: "x", account: "openai/main" };
  assert.equal(subjectKey(["user"], attributes), "user=alice");
  assert.equal(subjectKey(["feature", "user"], attributes), "feature=x|user=alice");
  assert.equal(subjectKey(["account"], attributes), "account=openai/main");
  assert.equal(subjectKey(["global"], attributes), "global");
});

test("subjectKey is missing where the call lacks an attribute", () => {
  assert.equal(subjectKey(["team"], { user: "alice" }), undefined);
  assert.equal(subjectKey(["team"], { user: "alice", team: "" }), undefined);
});

test("subjectKey is different for different scopes, as bytes too (X3)", () => {
  const property = fc.property(scope, scope, value, value, value, value, (one, other, a, b, c, d) => {
    const first = subjectKey(one, { user: a, feature: b, team: b });
    const second = subjectKey(other, { user: c, feature: d, team: d });
    const isSame =
      one.join() === other.join() && (!one.includes("user") || a === c) && (one.join() === "user" || b === d);
    const bytes = (text: string | undefined) => Buffer.from(text ?? "", "utf8").toString("hex");
    assert.equal(bytes(first) === bytes(second), isSame, `${first} and ${second}`);
  });
  fc.assert(property, runs(5_000));
});
