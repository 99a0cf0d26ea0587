import type { RoomBounds } from "../fairness/permit.ts";
import { OperationalError } from "../operational-error.ts";
import type { PriceSource } from "../price/price-book.ts";
import { modelName } from "./call-target.ts";
import { compileGlob, type Matcher } from "./glob.ts";
import { capacityOf, type LimitSpecSource, limitSpecSource } from "./limit-spec-of.ts";
import type { Attribute, LimitRule, Plan, Scope } from "./policy.ts";
import type { Attributes } from "./subject-key.ts";
import { type CompiledWeights, compileWeights } from "./token-amount.ts";

/** All rules that there are. Rules that apply to one call have different names. */
export interface PolicySource {
  readonly plans: ReadonlyMap<string, Plan>;
  /** Limits beside the plans', for calls of every plan. */
  readonly limits: readonly LimitRule[];
  /** Limits of each account, by `PROVIDER/ACCOUNT`. */
  readonly accountLimits: ReadonlyMap<string, readonly LimitRule[]>;
  /** Output expected of a call of which nothing better is known. */
  readonly outputTokensDefault: number;
  readonly room: RoomBounds;
  /** Models that the configuration names: those that metrics know by name, whoever calls them. */
  readonly models?: ReadonlySet<string> | undefined;
}

const hasRule = ({ plans, limits, accountLimits }: PolicySource, is: (rule: LimitRule) => boolean) =>
  [limits, ...accountLimits.values(), ...[...plans.values()].map((plan) => plan.limits)].some((rules) =>
    rules.some(is),
  );

/** Whether any limit counts money, so that prices are needed. */
export const metersCost = (source: PolicySource): boolean => hasRule(source, ({ meter }) => meter === "cost");

/** A rule with everything worked out that does not depend on the call. */
export interface CompiledRule {
  readonly rule: LimitRule;
  readonly specAt: LimitSpecSource;
  readonly capacity: number;
  readonly weights: CompiledWeights;
  /** All must match; absent where the rule has none, which is the common case. */
  readonly matchers: readonly { readonly attribute: Attribute; readonly matches: Matcher }[] | undefined;
}

/** Rules that are counted under one key. */
export interface RuleGroup {
  readonly scope: readonly Scope[];
  /** Whether callers of other users are counted under the same key. */
  readonly isShared: boolean;
  readonly rules: readonly CompiledRule[];
}

/** The rules for one plan and account. The first group is the user's, even where it has no rules. */
export type Program = readonly RuleGroup[];

/** Of configurations without limits on cost, and of tests: nobody knows any price. */
const UNPRICED: PriceSource = { quote: () => ({ kind: "unknown" }) };

const USER_SCOPE: readonly Scope[] = ["user"];

function compileRule(rule: LimitRule): CompiledRule {
  const entries = Object.entries(rule.match) as [Attribute, string][];
  return {
    rule,
    specAt: limitSpecSource(rule),
    capacity: capacityOf(rule),
    weights: compileWeights(rule.weights),
    matchers:
      entries.length === 0
        ? undefined
        : entries.map(([attribute, glob]) => ({
            attribute,
            matches: compileGlob(attribute === "model" ? modelName(glob) : glob),
          })),
  };
}

/** Whether the call has what the rule wants to match. */
export function ruleMatches(rule: CompiledRule, attributes: Attributes): boolean {
  if (rule.matchers === undefined) return true;
  for (const { attribute, matches } of rule.matchers) {
    const value = attributes[attribute];
    if (value === undefined || !matches(value)) return false;
  }
  return true;
}

/**
 * The rules of a configuration, ready to be asked. A `key` scope counts callers without a key of Sluice's own (identified by a trusted header)
 * per user, so that a limit per key cannot be slipped past by having none.
 */
export class CompiledPolicy {
  readonly outputTokensDefault: number;
  /** Whether calls of any plan may wait: then all calls take part in the waiting room, so that none passes those who wait. */
  readonly mayWait: boolean;
  /** How much of a waiting room there is. */
  readonly room: RoomBounds;
  /** Models that the configuration names. */
  readonly models: ReadonlySet<string>;
  /** Whether any limit counts what a provider says of a call's use: model tokens or money. */
  readonly metersUse: boolean;
  /** For limits on cost. */
  readonly prices: PriceSource;
  readonly #source: PolicySource;
  readonly #compiled = new Map<LimitRule, CompiledRule>();
  /** By plan and account, for callers with a key and without. Filled as combinations occur: few. */
  readonly #withKey = new Map<string, Map<string, Program>>();
  readonly #withoutKey = new Map<string, Map<string, Program>>();

  constructor(source: PolicySource, prices: PriceSource = UNPRICED) {
    this.#source = source;
    this.prices = prices;
    this.outputTokensDefault = source.outputTokensDefault;
    this.mayWait = [...source.plans.values()].some(({ maxWaitMs }) => maxWaitMs > 0);
    this.room = source.room;
    this.models = source.models ?? new Set();
    this.metersUse = hasRule(source, ({ meter }) => meter !== "requests" && meter !== "concurrency");
    for (const name of source.plans.keys()) {
      this.#withKey.set(name, new Map());
      this.#withoutKey.set(name, new Map());
    }
  }

  plan(name: string): Plan | undefined {
    return this.#source.plans.get(name);
  }

  /** Throws `invalid_request` for a plan that does not exist. `account` is one of the source's. */
  programFor(plan: string, hasKey: boolean, account: string | undefined): Program {
    const programs = (hasKey ? this.#withKey : this.#withoutKey).get(plan);
    if (programs === undefined) {
      const known = [...this.#source.plans.keys()].join(", ");
      throw new OperationalError("invalid_request", `there is no plan "${plan}"; the plans are: ${known}`);
    }
    let program = programs.get(account ?? "");
    if (program === undefined) {
      program = this.#build(plan, hasKey, account);
      // An account that is not configured comes from a caller: not worth remembering.
      if (account === undefined || this.#source.accountLimits.has(account))
        programs.set(account ?? "", program);
    }
    return program;
  }

  #build(plan: string, hasKey: boolean, account: string | undefined): Program {
    const groups = new Map<string, RuleGroup & { readonly rules: CompiledRule[] }>();
    groups.set("user", { scope: USER_SCOPE, isShared: false, rules: [] });
    const rules = [
      ...(this.#source.plans.get(plan)?.limits ?? []),
      ...this.#source.limits,
      ...(account === undefined ? [] : (this.#source.accountLimits.get(account) ?? [])),
    ];
    for (const rule of rules) {
      if (account === undefined && rule.scope.includes("account")) continue;
      const scope = hasKey ? rule.scope : withoutKey(rule.scope);
      const name = scope.join("|");
      const group = groups.get(name);
      if (group === undefined) {
        // A key belongs to one user.
        const isShared = !scope.includes("user") && !scope.includes("key");
        groups.set(name, { scope, isShared, rules: [this.#compile(rule)] });
      } else group.rules.push(this.#compile(rule));
    }
    return [...groups.values()];
  }

  #compile(rule: LimitRule): CompiledRule {
    let compiled = this.#compiled.get(rule);
    if (compiled === undefined) {
      compiled = compileRule(rule);
      this.#compiled.set(rule, compiled);
    }
    return compiled;
  }
}

function withoutKey(scope: readonly Scope[]): readonly Scope[] {
  if (!scope.includes("key")) return scope;
  return [...new Set(scope.map((part): Scope => (part === "key" ? "user" : part)))].sort();
}
