import type { Caller, LimitRule } from "../core/policy/policy.ts";
import { windowText } from "../core/policy/window-text.ts";
import { usdOfNano } from "../core/price/usd.ts";
import type { LimitView, WaitingView } from "../engine/engine.ts";
import type { HttpAnswer } from "../ports/provider-format.ts";
import { ownAnswer } from "./own-answer.ts";

const scopeOf = ({ scope }: LimitRule) => (scope.length === 1 ? scope[0] : scope);

/** An amount in the unit that the configuration has it in: money in USD. */
const amount = ({ meter }: LimitRule, value: number) => (meter === "cost" ? usdOfNano(value) : value);

/** `GET /sluice/v1/limits`: how the caller's limits stand, in the meters' units, and its calls that wait: the first ones, and how many. */
export function limitsAnswer(
  caller: Caller,
  views: readonly LimitView[],
  waitingCalls: WaitingView,
  requestId: string,
): HttpAnswer {
  const limits = views.map(({ rule, reading, resetsAtMs }) => ({
    name: rule.name,
    meter: rule.meter,
    scope: scopeOf(rule),
    per: windowText(rule.window) ?? null,
    limit: amount(rule, rule.limit),
    used: amount(rule, reading.used),
    held: amount(rule, reading.held),
    remaining: amount(rule, reading.remaining),
    more_in_ms: reading.moreInMs,
    ...(rule.window.kind === "calendar" ? { timezone: rule.window.timezone } : {}),
    ...(resetsAtMs === undefined ? {} : { resets_at: new Date(resetsAtMs).toISOString() }),
    ...(rule.mode === "shadow" ? { mode: rule.mode } : {}),
  }));
  const waiting = waitingCalls.first.map(({ priority, position, waitedMs, expectedMs }) => ({
    priority,
    position,
    waited_ms: Math.round(waitedMs),
    // A call that could go now does not wait: nobody can tell, as of places while none has been given back yet.
    expected_ms: expectedMs > 0 ? Math.ceil(expectedMs) : null,
  }));
  const { user, plan } = caller;
  return ownAnswer(200, { user, plan, limits, waiting, waiting_total: waitingCalls.total }, requestId);
}
