/** The periods that budgets are counted in. Weeks start on Monday (ISO 8601). */
export type CalendarUnit = "day" | "week" | "month";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The offset is looked up this far on both sides of a midnight in UTC: further than any zone is from UTC (15 h 13 min in history). */
const OFFSET_REACH_MS = 16 * HOUR_MS;
/** Periods computed on each side of now: more than the result needs, because a zone can skip a whole day (Apia, 2011-12-30). */
const PERIODS_AROUND = 3;

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(timezone: string): Intl.DateTimeFormat {
  let format = formats.get(timezone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: timezone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(timezone, format);
  }
  return format;
}

/** Whether the runtime knows the IANA time zone. */
export function isTimezone(timezone: string): boolean {
  try {
    formatOf(timezone);
    return true;
  } catch {
    return false;
  }
}

/** What the clocks of the zone show at `atMs`, as if it were UTC: epoch milliseconds, whole seconds. */
function localMs(timezone: string, atMs: number): number {
  const part: Record<string, number> = {};
  for (const { type, value } of formatOf(timezone).formatToParts(atMs)) part[type] = Number(value);
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
}

/** Local time minus UTC in ms. */
const offsetMs = (timezone: string, atMs: number) => localMs(timezone, atMs) - Math.floor(atMs / 1000) * 1000;

/**
 * The first moment at which the zone's clocks show `midnightMs` (a local midnight written as if it were UTC) or later. Where they jump over
 * midnight that is the moment of the jump; where they show it twice, the first time. Assumes one change of the offset in 32 hours at most.
 */
function firstMomentOf(timezone: string, midnightMs: number): number {
  const before = offsetMs(timezone, midnightMs - OFFSET_REACH_MS);
  const after = offsetMs(timezone, midnightMs + OFFSET_REACH_MS);
  const byOldOffset = midnightMs - before;
  if (before === after || offsetMs(timezone, byOldOffset) === before) return byOldOffset;
  const byNewOffset = midnightMs - after;
  if (offsetMs(timezone, byNewOffset) === after) return byNewOffset;
  let low = midnightMs - OFFSET_REACH_MS;
  let high = midnightMs + OFFSET_REACH_MS;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(timezone, middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

/** The local midnight that starts the period `steps` after the one that holds the local time, as if it were UTC. */
function periodStart(unit: CalendarUnit, local: number, steps: number): number {
  const date = new Date(local);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  switch (unit) {
    case "day":
      return Date.UTC(year, month, day) + steps * DAY_MS;
    case "week": {
      const daysSinceMonday = (date.getUTCDay() + 6) % 7;
      return Date.UTC(year, month, day) + (steps * 7 - daysSinceMonday) * DAY_MS;
    }
    case "month":
      return Date.UTC(year, month + steps, 1);
  }
}

/**
 * The starts of the previous period, the one that holds `nowMs`, the next and the one after it: four ascending epoch milliseconds with
 * `[1] <= nowMs < [2]` (L13). A period starts at local midnight or, where the zone skips that, at the first moment after it.
 * `timezone` must be one that `isTimezone` knows.
 */
export function calendarBoundaries(unit: CalendarUnit, timezone: string, nowMs: number): readonly number[] {
  const local = localMs(timezone, nowMs);
  const starts: number[] = [];
  for (let steps = -PERIODS_AROUND; steps <= PERIODS_AROUND; steps++) {
    const start = firstMomentOf(timezone, periodStart(unit, local, steps));
    if (start !== starts.at(-1)) starts.push(start);
  }
  const current = starts.findLastIndex((start) => start <= nowMs);
  return starts.slice(current - 1, current + 3);
}
