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
  return { name, priority: "normal", weight: 1, limits, whenLimited: "reject", maxWaitMs: 0 };
}
