import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { limitId } from "../../../src/core/policy/limit-identity.ts";
import type { Window } from "../../../src/core/policy/policy.ts";
import { limitRule } from "../../support/limit-rules.ts";
import { runs } from "../../support/property.ts";

const windows: readonly Window[] = [
  { kind: "rolling", windowMs: 60_000 },
  { kind: "rolling", windowMs: 60_001 },
  { kind: "token_bucket", windowMs: 60_000, burst: 10 },
  { kind: "calendar", unit: "day", timezone: "UTC" },
  { kind: "calendar", unit: "day", timezone: "Europe/Vienna" },
  { kind: "calendar", unit: "week", timezone: "UTC" },
  { kind: "open" },
];

test("limitId stays when amounts, modes and globs change, so that counters are kept", () => {
  const id = limitId(limitRule({}));
  assert.equal(limitId(limitRule({ limit: 99, mode: "shadow", match: { model: "x" }, reserve: "none" })), id);
  const bucket = (burst: number) =>
    limitId(limitRule({ window: { kind: "token_bucket", windowMs: 60_000, burst } }));
  assert.equal(bucket(1), bucket(2));
});

test("limitId differs by name, scope, meter and window", () => {
  const ids = [
    ...windows.map((window) => limitId(limitRule({ window }))),
    limitId(limitRule({ name: "other" })),
    limitId(limitRule({ scope: ["team"] })),
    limitId(limitRule({ scope: ["team", "user"] })),
    limitId(limitRule({ meter: "tokens" })),
  ];
  assert.equal(new Set(ids).size, ids.length);
});

test("limitId is an integer of 48 bits that uses all of them", () => {
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  const property = fc.property(fc.string(), (name) => {
    const id = limitId(limitRule({ name }));
    assert.ok(Number.isInteger(id) && id >= 0 && id < 2 ** 48);
    low = Math.min(low, id);
    high = Math.max(high, id);
  });
  fc.assert(property, runs(500));
  assert.ok(high > 2 ** 47 && low < 2 ** 46);
});

test("limitId has no collisions among a hundred thousand names", () => {
  const ids = new Set<number>();
  for (let i = 0; i < 100_000; i++) ids.add(limitId(limitRule({ name: `limit-${i}` })));
  assert.equal(ids.size, 100_000);
});

/** Changing it makes every counter that is stored anywhere start again. */
const LIMIT_ID_OF_REQUESTS_1M = 20_375_136_578_616;

test("limitId of a rule is the same in every version: counters outlive the process", () => {
  assert.equal(limitId(limitRule({})), LIMIT_ID_OF_REQUESTS_1M);
});
