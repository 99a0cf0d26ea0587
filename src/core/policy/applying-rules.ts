import type { LimitSpec, Meter } from "../limits/limit-spec.ts";
import type { CallTarget } from "./call-target.ts";
import { type CompiledPolicy, type CompiledRule, ruleMatches } from "./compiled-policy.ts";
import type { TokenUse } from "./endpoint.ts";
import type { Caller, LimitRule } from "./policy.ts";
import { type Attributes, subjectKey } from "./subject-key.ts";

/** The rules that apply to a call or caller, grouped by subject. */
export interface Applying {
  readonly keys: string[];
  readonly isShared: boolean[];
  /** For each key, how many of `rules` are counted under it. */
  readonly counts: number[];
  readonly rules: CompiledRule[];
  /** Whether one of them counts money: `enforced` where it may refuse a call. */
  cost: "none" | "shadow" | "enforced";
}

const meterCounts = (meter: Meter, use: TokenUse): boolean => {
  switch (meter) {
    case "requests":
    case "concurrency":
      return true;
    case "input_tokens":
    case "tokens":
    case "cost":
      return use !== "none";
    case "output_tokens":
      return use === "input_and_output";
  }
};

/** The rules that apply, by subject. `use` is the kind of call, or undefined for all rules that could apply to some kind. */
export function applyingRules(
  policy: CompiledPolicy,
  caller: Caller,
  target: CallTarget,
  use: TokenUse | undefined,
): Applying {
  const attributes: Attributes = {
    user: caller.user,
    key: caller.key,
    team: caller.team,
    feature: caller.feature,
    model: target.model === "" ? undefined : target.model,
    account: target.account,
  };
  const result: Applying = { keys: [], isShared: [], counts: [], rules: [], cost: "none" };
  const program = policy.programFor(caller.plan, caller.key !== undefined, target.account);
  for (let i = 0; i < program.length; i++) {
    const group = program[i];
    const before = result.rules.length;
    const key = subjectKey(group.scope, attributes);
    if (key === undefined) continue;
    for (const rule of group.rules) {
      if ((use === undefined || meterCounts(rule.rule.meter, use)) && ruleMatches(rule, attributes)) {
        result.rules.push(rule);
        if (rule.rule.meter === "cost" && result.cost !== "enforced") {
          result.cost = rule.rule.mode === "shadow" ? "shadow" : "enforced";
        }
      }
    }
    const count = result.rules.length - before;
    if (count === 0 && i > 0) continue;
    result.keys.push(key);
    result.isShared.push(group.isShared);
    result.counts.push(count);
  }
  return result;
}

/** The limits that a caller has, to be read: in the order of `rules`. Those counted per model or account need one in `target`. */
export function limitsOf(
  policy: CompiledPolicy,
  caller: Caller,
  target: Omit<CallTarget, "endpoint">,
  nowMs: number,
): {
  readonly requests: readonly { readonly key: string; readonly specs: readonly LimitSpec[] }[];
  readonly rules: readonly LimitRule[];
} {
  const { keys, counts, rules } = applyingRules(policy, caller, { ...target, endpoint: "other" }, undefined);
  let next = 0;
  const requests = keys.map((key, i) => {
    const specs = rules.slice(next, next + counts[i]).map((rule) => rule.specAt(nowMs));
    next += counts[i];
    return { key, specs };
  });
  return { requests: requests.filter(({ specs }) => specs.length > 0), rules: rules.map(({ rule }) => rule) };
}
