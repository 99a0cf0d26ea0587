import assert from "node:assert/strict";
import { test } from "node:test";
import { ModelLabels } from "../../../src/core/policy/model-labels.ts";

test("ModelLabels names the configured models and the first that were answered for, and nothing else, whatever clients send (X5)", () => {
  const labels = new ModelLabels(new Set(["gpt-4o", "my model"]));
  const seen = new Set<string>();
  for (let i = 0; i < 10_000; i++) seen.add(labels.labelOf(`made-up-${i}`));
  assert.ok(seen.size <= 33, `${seen.size} labels`);
  assert.ok(seen.has("other") && seen.has("made-up-0"));
  // Configured ones are never crowded out.
  assert.equal(labels.labelOf("gpt-4o"), "gpt-4o");
  assert.equal(labels.labelOf("my model"), "my model");
  assert.equal(labels.labelOf("made-up-0"), "made-up-0");
  labels.useConfigured(new Set(["o3"]));
  assert.deepEqual(
    ["o3", "gpt-4o"].map((model) => labels.labelOf(model)),
    ["o3", "other"],
  );
});

test("ModelLabels gives no name to what is none", () => {
  const labels = new ModelLabels(new Set());
  for (const odd of ["", "x".repeat(97), 'a"b', "a\nb", "é", "\ud800", "-a"])
    assert.equal(labels.labelOf(odd), "other");
});
