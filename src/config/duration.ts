const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type DurationUnit = keyof typeof UNITS_MS;

/** A whole number and a unit. No leading zeros, so that nothing is longer than it looks. */
export const DURATION_PATTERN = /^(0|[1-9]\d{0,11})(ms|s|m|h|d)$/;

export const DURATION_ALLOWED = "a duration such as 500ms, 20s, 1m, 1h, 7d";

/** Milliseconds of `500ms 20s 1m 1h 7d`; `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  return match === null ? undefined : Number(match[1]) * UNITS_MS[match[2] as DurationUnit];
}
