import type { LimitReading } from "../core/limits/limit-spec.ts";
import type { LimitRule, Window } from "../core/policy/policy.ts";
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

function describe(rule: LimitRule): string {
  return `"${rule.name}" of ${rule.limit} ${METER_NAMES[rule.meter]} ${formatWindow(rule.window)}`;
}

/** The call asks for more than the limit can ever hold: not to be retried (L4). */
export function tooLargeRefusal(rule: LimitRule, need: number, capacity: number): Refusal {
  return {
    code: "request_too_large_for_limit",
    message: `Request too large for the limit ${describe(rule)}: it needs ${need}, and the limit never holds more than ${capacity}. Send a shorter input or a smaller maximum of output tokens; retrying will not help.`,
    retryAfterMs: undefined,
    meter: rule.meter,
  };
}

/**
 * The call does not fit now. A calendar window is a budget: its reset may be weeks off, which is no time for an SDK to retry after, so that refusal is
 * terminal and says when it ends.
 */
export function overLimitRefusal(
  rule: LimitRule,
  need: number,
  reading: LimitReading | undefined,
  waitMs: number,
): Refusal {
  const left = reading === undefined ? "" : `, ${Math.max(0, reading.remaining)} left`;
  const isBudget = rule.window.kind === "calendar";
  const when = rule.meter === "concurrency" ? "when another request ends" : `in ${formatDuration(waitMs)}`;
  const advice = isBudget ? `The budget resets ${when}.` : `Please try again ${when}.`;
  const name = isBudget ? "Budget used up" : "Rate limit reached";
  return {
    code: isBudget ? "budget_exceeded" : "rate_limit_exceeded",
    message: `${name}: ${describe(rule)}${left}, ${need} requested. ${advice}`,
    retryAfterMs: isBudget ? undefined : waitMs,
    meter: rule.meter,
  };
}
