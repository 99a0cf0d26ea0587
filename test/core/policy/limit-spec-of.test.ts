import assert from "node:assert/strict";
import { test } from "node:test";
import { limitSpecSource } from "../../../src/core/policy/limit-spec-of.ts";
import { limitRule } from "../../support/limit-rules.ts";

test("limitSpecSource gives a rolling window ten sub-windows of a millisecond at least", () => {
  const spec = (windowMs: number) => limitSpecSource(limitRule({ window: { kind: "rolling", windowMs } }))(0);
  const grain = (windowMs: number) => {
    const made = spec(windowMs);
    return made.algorithm === "rolling_window" ? made.grainMs : undefined;
  };
  assert.equal(grain(60_000), 6_000);
  assert.equal(grain(25), 2);
  assert.equal(grain(5), 1);
});

test("limitSpecSource fills a bucket to its burst by the limit", () => {
  const spec = limitSpecSource(limitRule({ window: { kind: "token_bucket", windowMs: 1_000, burst: 3 } }))(0);
  assert.ok(spec.algorithm === "token_bucket");
  assert.deepEqual([spec.capacity, spec.refill, spec.windowMs], [3, 10, 1_000]);
});

test("limitSpecSource makes a new spec only when a calendar period begins (L13)", () => {
  const at = limitSpecSource(limitRule({ window: { kind: "calendar", unit: "day", timezone: "UTC" } }));
  const noon = Date.UTC(2026, 10, 23, 12);
  const spec = at(noon);
  assert.ok(spec.algorithm === "calendar_window");
  assert.equal(spec.boundariesMs[1], Date.UTC(2026, 10, 23));
  assert.equal(at(Date.UTC(2026, 10, 24) - 1), spec);
  const next = at(Date.UTC(2026, 10, 24));
  assert.notEqual(next, spec);
  assert.equal(next.id, spec.id);
  // A clock that jumps back gets the periods around it.
  const before = at(noon);
  assert.ok(before.algorithm === "calendar_window");
  assert.equal(before.boundariesMs[1], Date.UTC(2026, 10, 23));
});

test("limitSpecSource marks shadow limits and gives everything else one object for good", () => {
  const at = limitSpecSource(limitRule({ mode: "shadow" }));
  assert.equal(at(0).shadow, true);
  assert.equal(at(0), at(1e12));
  assert.equal(
    limitSpecSource(limitRule({ meter: "concurrency", window: { kind: "open" } }))(0).algorithm,
    "concurrency",
  );
});
