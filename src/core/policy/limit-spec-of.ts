import type { CalendarWindowSpec, LimitSpec } from "../limits/limit-spec.ts";
import { calendarBoundaries } from "./calendar-boundaries.ts";
import { limitId } from "./limit-identity.ts";
import type { LimitRule } from "./policy.ts";

/** Sub-windows a rolling window is counted in: what was used comes back a tenth of the window late at most, for eleven slots of memory. */
export const SUB_WINDOWS = 10;

/** Gives the spec that a rule has at a moment. Returns the same object as long as nothing in it changes. */
export type LimitSpecSource = (nowMs: number) => LimitSpec;

/** Only calendar windows change with time; everything else is one object for good. */
export function limitSpecSource(rule: LimitRule): LimitSpecSource {
  const base = { id: limitId(rule), capacity: rule.limit, shadow: rule.mode === "shadow" };
  const { window } = rule;
  switch (window.kind) {
    case "rolling":
      return constant({
        algorithm: "rolling_window",
        ...base,
        windowMs: window.windowMs,
        grainMs: Math.max(1, Math.floor(window.windowMs / SUB_WINDOWS)),
      });
    case "token_bucket":
      return constant({
        algorithm: "token_bucket",
        ...base,
        capacity: window.burst,
        windowMs: window.windowMs,
        refill: rule.limit,
      });
    case "open":
      return constant({ algorithm: "concurrency", ...base });
    case "calendar": {
      let spec: CalendarWindowSpec | undefined;
      return (nowMs) => {
        if (spec === undefined || nowMs < spec.boundariesMs[1] || nowMs >= spec.boundariesMs[2]) {
          const boundariesMs = calendarBoundaries(window.unit, window.timezone, nowMs);
          spec = { algorithm: "calendar_window", ...base, boundariesMs };
        }
        return spec;
      };
    }
  }
}

const constant = (spec: LimitSpec): LimitSpecSource => {
  return () => spec;
};

/** The most that can be counted on the rule at once. */
export const capacityOf = (rule: LimitRule): number =>
  rule.window.kind === "token_bucket" ? rule.window.burst : rule.limit;
