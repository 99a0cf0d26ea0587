import type { LimitReading } from "../core/limits/limit-spec.ts";
import type { LimitRule, Window } from "../core/policy/policy.ts";
import { formatUsd } from "../core/price/usd.ts";
import type { Refusal } from "../ports/provider-format.ts";

const SECOND_MS = 1_000;
const UNITS: readonly (readonly [string, number])[] = [
  ["d", 86_400 * SECOND_MS],
  ["h", 3_600 * SECOND_MS],
  ["m", 60 * SECOND_MS],
  ["s", SECOND_MS],
];

/** `90000` → `1m30s`: at most the two largest units, since nobody waits 1d0h3m7s to the second; below a second, milliseconds. */
export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) return `${ms}ms`;
  const parts: string[] = [];
  let rest = Math.ceil(ms / SECOND_MS) * SECOND_MS;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join("");
}

/** `per minute`, `per 90s`, `per day (Europe/Vienna)`, `at once`. */
export function formatWindow(window: Window): string {
  switch (window.kind) {
    case "rolling":
    case "token_bucket":
      return `per ${formatDuration(window.windowMs)}`;
    case "calendar":
      return `per ${window.unit} (${window.timezone})`;
    case "open":
      return "at once";
  }
}

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
  return `"${rule.name}" of ${amountText(rule, rule.limit)} ${METER_NAMES[rule.meter]} ${formatWindow(rule.window)}`;
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
  const left = reading === undefined ? "" : `, ${amountText(rule, Math.max(0, reading.remaining))} left`;
  const isTerminal = isBudget(rule);
  const when = rule.meter === "concurrency" ? "when another request ends" : `in ${formatDuration(waitMs)}`;
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
