import { passedDuration, roughDuration } from "../core/duration.ts";
import type { LimitReading } from "../core/limits/limit-spec.ts";
import type { CallCharges } from "../core/policy/charges.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import { windowTextInZone } from "../core/policy/window-text.ts";
import { formatUsd } from "../core/price/usd.ts";
import type { Refusal } from "../ports/provider-format.ts";

const METER_NAMES = {
  requests: "requests",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
  tokens: "tokens",
  cost: "USD",
  concurrency: "concurrent requests",
} as const;

/** In the unit that the configuration has it in. */
const amountText = ({ meter }: LimitRule, amount: number) =>
  meter === "cost" ? formatUsd(amount) : `${amount}`;

/** A budget's refusal is terminal for SDKs: the next amount may be weeks off. Money is always one, other meters in calendar windows. */
const isBudget = ({ meter, window }: LimitRule) => meter === "cost" || window.kind === "calendar";

function describe(rule: LimitRule): string {
  const window = windowTextInZone(rule.window);
  const amount = `${amountText(rule, rule.limit)} ${METER_NAMES[rule.meter]}`;
  return `"${rule.name}" of ${amount} ${window === undefined ? "at once" : `per ${window}`}`;
}

/** The call asks for more than the limit can ever hold: not to be retried (L4). */
export function tooLargeRefusal(rule: LimitRule, need: number, capacity: number): Refusal {
  return {
    code: "request_too_large_for_limit",
    message: `Request too large for the limit ${describe(rule)}: it needs ${amountText(rule, need)}, and the limit never holds more than ${amountText(rule, capacity)}. Send a shorter input or a smaller maximum of output tokens; retrying will not help.`,
    retryAfterMs: undefined,
    meter: rule.meter,
  };
}

/**
 * The call does not fit now. The refusal of a budget (`isBudget`) is terminal and says when it resets or, where it has no reset, when enough of it is back; any
 * other says when to come back.
 */
export function overLimitRefusal(
  rule: LimitRule,
  need: number,
  reading: LimitReading | undefined,
  waitMs: number,
): Refusal {
  const left =
    reading === undefined
      ? ", of which this gateway gives away no more than its share while it cannot reach the others"
      : `, ${amountText(rule, Math.max(0, reading.remaining))} left`;
  const isTerminal = isBudget(rule);
  const when = rule.meter === "concurrency" ? "when another request ends" : `in ${roughDuration(waitMs)}`;
  const resets = rule.window.kind === "calendar" ? "The budget resets" : "Enough of the budget is back";
  const advice = isTerminal ? `${resets} ${when}.` : `Please try again ${when}.`;
  const name = isTerminal ? "Budget used up" : "Rate limit reached";
  return {
    code: isTerminal ? "budget_exceeded" : "rate_limit_exceeded",
    message: `${name}: ${describe(rule)}${left}, ${amountText(rule, need)} requested. ${advice}`,
    retryAfterMs: isTerminal ? undefined : waitMs,
    meter: rule.meter,
  };
}

/** What the limit in whose way it is says of a call. */
export function refusalOf(
  charges: CallCharges,
  outcome: {
    readonly kind: "refused" | "never_fits";
    readonly waitMs: number;
    readonly limiting: number;
    readonly readings: readonly LimitReading[] | undefined;
  },
): Refusal {
  const rule = charges.rules[outcome.limiting];
  const charge = charges.subjects.flatMap((subject) => subject.charges)[outcome.limiting];
  return outcome.kind === "never_fits"
    ? tooLargeRefusal(rule, charge.need, charge.spec.capacity)
    : overLimitRefusal(rule, charge.need, outcome.readings?.[outcome.limiting], outcome.waitMs);
}

/** What is said where nobody can tell: soon enough for a client, late enough for another gateway to have taken over. */
const COME_AGAIN_MS = 1_000;

/** The limit that the call does not fit now, in a sentence; empty where nobody can tell, or it would fit if nobody else waited. */
function inTheWay({ subjects, rules }: CallCharges, readings: readonly LimitReading[] | undefined): string {
  const needs = subjects.flatMap(({ charges }) => charges.map(({ need }) => need));
  const index = rules.findIndex(
    ({ mode }, i) => mode === "enforce" && readings !== undefined && needs[i] > readings[i].remaining,
  );
  if (index === -1 || readings === undefined) return "";
  const rule = rules[index];
  const left = amountText(rule, Math.max(0, readings[index].remaining));
  return `In its way: ${describe(rule)}, ${left} left, ${amountText(rule, needs[index])} requested. `;
}

/**
 * A call that its own limits alone do not keep from being served, but those who are first do; or which has waited for as long as it may. `readings` say how its limits
 * stand, where that is known.
 */
export function queueRefusal(
  { kind, waitMs }: { readonly kind: "queue_full" | "behind_others" | "timed_out"; readonly waitMs: number },
  { maxWaitMs, waitedMs }: { readonly maxWaitMs: number; readonly waitedMs: number },
  charges: CallCharges,
  readings: readonly LimitReading[] | undefined,
): Refusal {
  // Nobody can tell when a call that holds the last place will end.
  const retryAfterMs = waitMs > 1 ? waitMs : COME_AGAIN_MS;
  const again = `${inTheWay(charges, readings)}Please try again in ${roughDuration(Math.ceil(retryAfterMs))}.`;
  const retryable = { retryAfterMs, meter: "requests" } as const;
  switch (kind) {
    case "queue_full":
      return {
        ...retryable,
        code: "queue_full",
        message: `Too many calls are waiting already, yours or in total. ${again}`,
      };
    case "timed_out":
      return {
        ...retryable,
        code: "queue_timeout",
        message: `The call has waited for ${passedDuration(waitedMs)} without its turn having come: no call of this plan waits longer. ${again}`,
      };
    case "behind_others":
      return maxWaitMs === 0
        ? {
            ...retryable,
            code: "rate_limit_exceeded",
            message: `Rate limit reached: other calls are waiting for the same capacity, and this plan's do not wait. ${again}`,
          }
        : {
            ...retryable,
            code: "queue_timeout",
            message: `The call would have to wait for ${roughDuration(Math.ceil(waitMs))}, and no call of this plan waits longer than ${roughDuration(maxWaitMs)}. ${again}`,
          };
  }
}

/** The gateway ends and can keep no call that waits. */
export function closingRefusal(): Refusal {
  return {
    code: "queue_timeout",
    message: `The gateway is shutting down, and the call was still waiting. Please try again in ${roughDuration(COME_AGAIN_MS)}.`,
    retryAfterMs: COME_AGAIN_MS,
    meter: "requests",
  };
}
