import type { RoomBounds } from "../../src/core/fairness/permit.ts";
import type { LimitRule, Plan } from "../../src/core/policy/policy.ts";

/** A rule with defaults for what a test does not care about. */
export function limitRule(part: Partial<LimitRule>): LimitRule {
  return {
    name: "requests-1m",
    meter: "requests",
    limit: 10,
    window: { kind: "rolling", windowMs: 60_000 },
    scope: ["user"],
    match: {},
    mode: "enforce",
    reserve: "expected",
    onStoreFailure: "local",
    onExhausted: "continue",
    weights: { input: 1, cachedInput: 1, output: 1 },
    ...part,
  };
}

export function planOf(name: string, limits: readonly LimitRule[]): Plan {
  return {
    name,
    priority: "normal",
    weight: 1,
    limits,
    whenLimited: "reject",
    maxWaitMs: 0,
    keepalive: false,
    unreadCalls: "pass",
  };
}

/** More of a waiting room than any test fills, unless it says so. */
export const ROOM: RoomBounds = {
  waitingMax: 10_000,
  waitingPerFlowMax: 10_000,
  bytesMax: 1e9,
  bytesPerFlowMax: 1e9,
  minShares: [0, 0.1, 0.1, 0.05],
};
