import type {
  CalendarWindowSpec,
  ConcurrencySpec,
  LimitSpec,
  RollingWindowSpec,
  TokenBucketSpec,
} from "../../src/core/limits/limit-spec.ts";

/** Sub-windows a window in these tests, as in the product. */
const SUB_WINDOWS = 10;

let nextId = 1_000;

export function rolling(
  capacity: number,
  windowMs: number,
  rest: Partial<RollingWindowSpec> = {},
): RollingWindowSpec {
  const grainMs = Math.max(1, Math.floor(windowMs / SUB_WINDOWS));
  return { id: nextId++, algorithm: "rolling_window", capacity, windowMs, grainMs, shadow: false, ...rest };
}

export function bucket(
  capacity: number,
  refill: number,
  windowMs: number,
  rest: Partial<TokenBucketSpec> = {},
): TokenBucketSpec {
  return { id: nextId++, algorithm: "token_bucket", capacity, refill, windowMs, shadow: false, ...rest };
}

export function calendar(
  capacity: number,
  boundariesMs: readonly number[],
  rest: Partial<CalendarWindowSpec> = {},
): CalendarWindowSpec {
  return { id: nextId++, algorithm: "calendar_window", capacity, boundariesMs, shadow: false, ...rest };
}

export function concurrency(capacity: number, rest: Partial<ConcurrencySpec> = {}): ConcurrencySpec {
  return { id: nextId++, algorithm: "concurrency", capacity, shadow: false, ...rest };
}

/** The kinds of limit that fill and empty with time. */
export const grainOf = (spec: LimitSpec): number => (spec.algorithm === "rolling_window" ? spec.grainMs : 0);
