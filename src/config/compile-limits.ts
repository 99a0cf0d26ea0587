import { PRIORITIES, type RoomBounds } from "../core/fairness/permit.ts";
import type { LimitRule, Plan, Scope, StoreFailurePolicy, Window } from "../core/policy/policy.ts";
import { nanoOfUsd } from "../core/price/usd.ts";
import { parseDuration } from "./duration.ts";
import type { FileShape } from "./file-schema.ts";
import { algorithmOf, type LimitPlace, limitName, scopesOf } from "./limit-checks.ts";
import type { LimitShape } from "./limit-schema.ts";

/** Long enough for the next sub-window of a one-minute limit to open, short enough for a person at the other end. */
const MAX_WAIT_MS_DEFAULT = 20_000;
const EVEN_WEIGHTS = { input: 1, cachedInput: 1, output: 1 };

/** Milliseconds of a duration that the schema has let through. */
export function durationMs(text: string): number {
  const parsed = parseDuration(text);
  if (parsed === undefined)
    throw new Error("assertion failed: durations are checked before they are compiled");
  return parsed;
}

function windowOf(limit: LimitShape, place: LimitPlace): Window {
  if (limit.meter === "concurrency" || limit.per === undefined) return { kind: "open" };
  if (limit.per === "day" || limit.per === "week" || limit.per === "month") {
    return { kind: "calendar", unit: limit.per, timezone: limit.timezone ?? "UTC" };
  }
  const windowMs = durationMs(limit.per);
  if (algorithmOf(limit, place) !== "token_bucket") return { kind: "rolling", windowMs };
  return { kind: "token_bucket", windowMs, burst: amountOf(limit, limit.burst ?? limit.limit) };
}

const amountOf = (limit: LimitShape, amount: number) => (limit.meter === "cost" ? nanoOfUsd(amount) : amount);

/** Money is closed by default, rates are local: an outage of the store must not cost a fortune, nor stop everybody. */
const storeFailureDefault = (limit: LimitShape): StoreFailurePolicy =>
  limit.meter === "cost" ? "closed" : "local";

/** `costAlertsAt`: of limits on cost that do not say otherwise. */
function ruleOf(limit: LimitShape, place: LimitPlace, costAlertsAt: readonly number[]): LimitRule {
  const match = Object.entries(limit.match).filter(([, glob]) => glob !== undefined);
  return {
    name: limitName(limit, place),
    meter: limit.meter,
    limit: amountOf(limit, limit.limit),
    window: windowOf(limit, place),
    scope: scopesOf(limit, place) as readonly Scope[],
    match: Object.fromEntries(match),
    mode: limit.mode,
    reserve: limit.reserve ?? "expected",
    onStoreFailure: limit.on_store_failure ?? storeFailureDefault(limit),
    onExhausted: limit.on_exhausted ?? "continue",
    weights:
      limit.weights === undefined
        ? EVEN_WEIGHTS
        : {
            input: limit.weights.input,
            cachedInput: limit.weights.cached_input,
            output: limit.weights.output,
          },
    alertsAt: limit.alerts_at ?? (limit.meter === "cost" ? costAlertsAt : undefined),
  };
}

export const rulesOf = (
  limits: readonly LimitShape[],
  place: LimitPlace,
  { alerts }: FileShape,
): readonly LimitRule[] => limits.map((limit) => ruleOf(limit, place, alerts.at));

type PlanShape = NonNullable<FileShape["plans"]>[string];

/** The plan of configurations that name none: no limits, but calls are counted and passed on. */
const DEFAULT_PLAN: Plan = {
  name: "default",
  priority: "normal",
  weight: 1,
  limits: [],
  whenLimited: "wait",
  maxWaitMs: MAX_WAIT_MS_DEFAULT,
  keepalive: false,
  unreadCalls: "pass",
};

function planOf(name: string, plan: PlanShape, file: FileShape): Plan {
  const maxWaitMs = plan.max_wait === undefined ? MAX_WAIT_MS_DEFAULT : durationMs(plan.max_wait);
  return {
    name,
    priority: plan.priority,
    weight: plan.weight,
    limits: rulesOf(plan.limits, "plan", file),
    whenLimited: plan.when_limited,
    maxWaitMs: plan.when_limited === "reject" ? 0 : maxWaitMs,
    keepalive: plan.keepalive,
    unreadCalls: plan.unread_calls,
  };
}

/** How much of a waiting room there is. */
export function roomOf({ bounds, min_share }: FileShape): RoomBounds {
  return {
    waitingMax: bounds.waiting_max,
    waitingPerFlowMax: bounds.waiting_per_user_max,
    bytesMax: bounds.waiting_bytes_max,
    bytesPerFlowMax: bounds.waiting_bytes_per_user_max,
    minShares: PRIORITIES.map((priority) => (priority === "critical" ? 0 : min_share[priority])),
  };
}

export function plansOf(file: FileShape): ReadonlyMap<string, Plan> {
  const entries = Object.entries(file.plans ?? {});
  if (entries.length === 0) return new Map([[DEFAULT_PLAN.name, DEFAULT_PLAN]]);
  return new Map(entries.map(([name, plan]) => [name, planOf(name, plan, file)]));
}
