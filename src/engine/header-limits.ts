import type { LimitReading } from "../core/limits/limit-spec.ts";
import type { CallCharges } from "../core/policy/charges.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import type { HeaderLimit } from "../ports/provider-format.ts";

const SECOND_MS = 1_000;
/** Headers name one length for all periods: a month's is that of the longest. */
const CALENDAR_SECONDS = { day: 86_400, week: 604_800, month: 2_678_400 } as const;

function windowSeconds({ window }: LimitRule): number | undefined {
  switch (window.kind) {
    case "rolling":
    case "token_bucket":
      return Math.ceil(window.windowMs / SECOND_MS);
    case "calendar":
      return CALENDAR_SECONDS[window.unit];
    case "open":
      return undefined;
  }
}

/** The limits of a call for its answer's headers, where it is known how they stand. */
export function headerLimits(charges: CallCharges, readings: readonly LimitReading[] = []): HeaderLimit[] {
  const limits: HeaderLimit[] = [];
  for (let i = 0; i < readings.length; i++) {
    const rule = charges.rules[i];
    // A limit in shadow mode binds nobody, and nobody should plan by it. Money has no unit in these headers.
    if (rule.mode === "shadow" || rule.meter === "cost") continue;
    limits.push({
      name: rule.name,
      meter: rule.meter,
      limit: rule.limit,
      windowSeconds: windowSeconds(rule),
      reading: readings[i],
    });
  }
  return limits;
}
