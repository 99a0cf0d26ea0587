import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { LimitReading } from "../../../src/core/limits/limit-spec.ts";
import { isUsedUpFor, shareCounter, sharesReached } from "../../../src/core/policy/budget-shares.ts";
import { subjectAttributes, subjectKey } from "../../../src/core/policy/subject-key.ts";
import { limitRule } from "../../support/limit-rules.ts";

const reading = (used: number, held = 0, limit = 1_000): LimitReading => ({
  used,
  held,
  remaining: limit - used - held,
  moreInMs: 3_600_000,
  fullInMs: 3_600_000,
});

const budget = limitRule({
  name: "house",
  meter: "cost",
  limit: 1_000,
  window: { kind: "calendar", unit: "day", timezone: "UTC" },
  alertsAt: [100, 50, 80],
});

describe("sharesReached", () => {
  test("goes by what is used, never by what is held, to the unit", () => {
    const at = (used: number, held: number) => sharesReached(budget, reading(used, held), false);
    assert.deepEqual(at(0, 1_000), []);
    assert.deepEqual(at(499, 501), []);
    assert.deepEqual(at(500, 0), [50]);
    assert.deepEqual(at(799, 0), [50]);
    assert.deepEqual(at(800, 200), [50, 80]);
    assert.deepEqual(at(999, 1), [50, 80]);
    assert.deepEqual(at(1_000, 0), [50, 80, 100]);
    assert.deepEqual(at(5_000, 0), [50, 80, 100]);
  });

  test("is exact for the largest and the smallest limits", () => {
    for (const limit of [1, 3, 7, 2 ** 53 - 1, 9_000_000 * 1e9]) {
      const rule = { ...budget, limit };
      assert.deepEqual(sharesReached(rule, reading(limit, 0, limit), false), [50, 80, 100]);
      const almost = sharesReached(rule, reading(limit - 1, 0, limit), false);
      assert.ok(limit > 2 ** 50 || !almost.includes(100), `${limit - 1} of ${limit}`);
    }
  });

  test("takes a refusal for the whole once the share before has been reached, so that one enormous call is no alarm", () => {
    const at = (used: number) => sharesReached(budget, reading(used), true);
    assert.deepEqual(at(100), []);
    assert.deepEqual(at(799), [50]);
    assert.deepEqual(at(800), [50, 80, 100]);
    const only = { ...budget, alertsAt: [100] };
    assert.deepEqual(sharesReached(only, reading(799), true), []);
    assert.deepEqual(sharesReached(only, reading(800), true), [100]);
    const debts = { ...budget, alertsAt: [50, 120] };
    assert.deepEqual(sharesReached(debts, reading(900), true), [50]);
    assert.deepEqual(sharesReached(debts, reading(1_200), true), [50, 120]);
  });

  test("isUsedUpFor leaves out what is only held and may come back", () => {
    assert.equal(isUsedUpFor(budget, reading(500, 499), 10), false);
    assert.equal(isUsedUpFor(budget, reading(991, 0), 10), true);
    assert.equal(isUsedUpFor(budget, reading(990, 0), 10), false);
  });
});

describe("shareCounter", () => {
  const NOON = Date.UTC(2026, 2, 3, 12);
  const DAY_MS = 86_400_000;
  const endsIn = (ms: number): LimitReading => ({ ...reading(500), moreInMs: ms });

  test("names the period by when the store says that it ends, up to half a period off the gateway's clock", () => {
    const keyAt = (nowMs: number, endsMs: number) =>
      shareCounter("user=a", budget, 50, endsIn(endsMs - nowMs), nowMs).take.key;
    const endMs = Date.UTC(2026, 2, 4);
    const key = keyAt(NOON, endMs);
    // A gateway that is ahead, beyond midnight even, and one that is behind.
    for (const offMs of [-7_200_000, -1_000, 1_000, -11 * 3_600_000, 11 * 3_600_000]) {
      const nowMs = NOON + offMs;
      assert.equal(keyAt(nowMs, nowMs + (endMs - NOON)), key, `off by ${offMs} ms`);
    }
    assert.notEqual(keyAt(NOON + DAY_MS, endMs + DAY_MS), key);
  });

  test("tells shares, limits, amounts and subjects apart, and stays in the realm of the subject", () => {
    const of = (key: string, rule: typeof budget, share: number) => {
      const { take } = shareCounter(key, rule, share, endsIn(1_000), NOON);
      return `${take.key} ${take.charges.map(({ spec }) => spec.id).join()}`;
    };
    const all = [
      of("user=a", budget, 50),
      of("user=a", budget, 80),
      of("user=b", budget, 50),
      of("user=a", { ...budget, name: "other" }, 50),
      of("user=a", { ...budget, limit: 2_000 }, 50),
    ];
    assert.equal(new Set(all).size, all.length);
    assert.match(all[0], /^alert\|\d+\|user=a /);
  });

  test("counts rolling limits and token buckets in a window of their length", () => {
    for (const window of [
      { kind: "rolling", windowMs: 60_000 } as const,
      { kind: "token_bucket", windowMs: 60_000, burst: 5 } as const,
    ]) {
      const { take } = shareCounter("global", { ...budget, window }, 50, endsIn(1_000), NOON);
      const [{ spec }] = take.charges;
      assert.ok(spec.algorithm === "rolling_window" && spec.windowMs === 60_000 && spec.capacity === 1);
      assert.equal(take.key, "alert|global");
    }
  });
});

test("subjectAttributes gives back what subjectKey was made of", () => {
  for (const attributes of [
    { user: "alice" },
    { user: "a|b=%c", team: "é%7c;" },
    { feature: "\ud800x", user: "=" },
    {},
  ]) {
    const scope = Object.keys(attributes).sort() as ("user" | "team" | "feature")[];
    const key = subjectKey(scope.length === 0 ? ["global"] : scope, attributes);
    assert.ok(key !== undefined);
    assert.deepEqual(subjectAttributes(key), attributes);
  }
});
