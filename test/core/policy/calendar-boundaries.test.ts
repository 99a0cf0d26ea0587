import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type CalendarUnit,
  calendarBoundaries,
  isTimezone,
} from "../../../src/core/policy/calendar-boundaries.ts";
import { runs } from "../../support/property.ts";

const ZONES = [
  "UTC",
  "Europe/Vienna",
  "America/New_York",
  // Midnight does not exist on some days.
  "America/Sao_Paulo",
  "Africa/Cairo",
  "America/Havana",
  "America/Asuncion",
  "America/Santiago",
  "Asia/Beirut",
  "Asia/Gaza",
  "Asia/Tehran",
  // Midnight comes twice on some days (changes at 00:01 until 2011).
  "America/St_Johns",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "Pacific/Kiritimati",
  "Pacific/Apia",
];
const QUARTER_MS = 900_000;
const DAY_MS = 86_400_000;

const formats = new Map<string, Intl.DateTimeFormat>();

/** The local date as `2026-11-23`. */
function localDate(timezone: string, atMs: number): string {
  let format = formats.get(timezone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, dateStyle: "short" });
    formats.set(timezone, format);
  }
  return format.format(atMs);
}

/** A text that names the period and sorts like it. */
function periodOf(unit: CalendarUnit, timezone: string, atMs: number): string {
  const date = localDate(timezone, atMs);
  if (unit === "day") return date;
  if (unit === "month") return date.slice(0, 7);
  const day = new Date(`${date}T00:00:00Z`);
  const daysSinceMonday = (day.getUTCDay() + 6) % 7;
  return new Date(day.getTime() - daysSinceMonday * DAY_MS).toISOString().slice(0, 10);
}

/** Every quarter of an hour of a stretch at whose end a later period has begun than ever before in it. */
function startsByWalking(unit: CalendarUnit, timezone: string, fromMs: number, toMs: number): number[] {
  const starts: number[] = [];
  let latest = periodOf(unit, timezone, fromMs);
  for (let at = fromMs + QUARTER_MS; at <= toMs; at += QUARTER_MS) {
    const period = periodOf(unit, timezone, at);
    if (period > latest) {
      starts.push(at);
      latest = period;
    }
  }
  return starts;
}

const changes = new Map<string, readonly number[]>();

/** Weeks in which the zone's clocks were changed: where the bugs are. */
function weeksOfChange(timezone: string): readonly number[] {
  let weeks = changes.get(timezone);
  if (weeks === undefined) {
    const format = new Intl.DateTimeFormat("sv-SE", { timeZone: timezone, timeStyle: "short" });
    const all = Array.from({ length: 47 * 52 }, (_, i) => Date.UTC(1990, 0) + i * 7 * DAY_MS);
    weeks = all.filter((week) => format.format(week) !== format.format(week + 7 * DAY_MS));
    changes.set(timezone, weeks);
  }
  return weeks;
}

/** A moment in a zone, two times out of three in a week of change. */
const moment = fc
  .tuple(fc.constantFrom(...ZONES), fc.nat(), fc.integer({ min: -DAY_MS, max: 8 * DAY_MS }), fc.nat(2))
  .map(([timezone, n, offMs, mode]) => {
    const weeks = weeksOfChange(timezone);
    const anyMs = Date.UTC(1990, 0) + (n % (46 * 365)) * DAY_MS;
    return { timezone, nowMs: (mode === 0 || weeks.length === 0 ? anyMs : weeks[n % weeks.length]) + offMs };
  });

test("calendarBoundaries agree with walking through local time a quarter of an hour at a time (L13)", () => {
  const property = fc.property(
    fc.constantFrom<CalendarUnit>("day", "day", "day", "week", "month"),
    moment,
    (unit, { timezone, nowMs }) => {
      const [previous, current, next, last] = calendarBoundaries(unit, timezone, nowMs);
      assert.ok(previous < current && current <= nowMs && nowMs < next && next < last);
      const fromMs = Math.floor((previous - DAY_MS / 2) / QUARTER_MS) * QUARTER_MS;
      const toMs = Math.ceil(last / QUARTER_MS) * QUARTER_MS;
      const walked = startsByWalking(unit, timezone, fromMs, toMs);
      const found = [previous, current, next, last];
      assert.deepEqual(
        found.map((start) => Math.ceil(start / QUARTER_MS) * QUARTER_MS),
        walked,
      );
      for (const start of found) {
        assert.ok(
          periodOf(unit, timezone, start) > periodOf(unit, timezone, start - 1),
          new Date(start).toISOString(),
        );
      }
    },
  );
  fc.assert(property, runs(250));
});

const starts = (unit: CalendarUnit, timezone: string, at: string) =>
  calendarBoundaries(unit, timezone, Date.parse(at)).map((start) => new Date(start).toISOString());

test("calendarBoundaries start a day without midnight at its first moment (L13)", () => {
  // 2018-11-04 00:00 became 01:00.
  assert.deepEqual(starts("day", "America/Sao_Paulo", "2018-11-04T12:00:00Z"), [
    "2018-11-03T03:00:00.000Z",
    "2018-11-04T03:00:00.000Z",
    "2018-11-05T02:00:00.000Z",
    "2018-11-06T02:00:00.000Z",
  ]);
  // 2024-04-26 00:00 became 01:00.
  assert.equal(starts("day", "Africa/Cairo", "2024-04-26T12:00:00Z")[1], "2024-04-25T22:00:00.000Z");
});

test("calendarBoundaries leave out a day that the zone left out (L13)", () => {
  // Samoa went from the 29th to the 31st of December 2011.
  assert.deepEqual(starts("day", "Pacific/Apia", "2011-12-31T00:00:00Z"), [
    "2011-12-29T10:00:00.000Z",
    "2011-12-30T10:00:00.000Z",
    "2011-12-31T10:00:00.000Z",
    "2012-01-01T10:00:00.000Z",
  ]);
});

test("calendarBoundaries start a day whose midnight comes twice at the first one (L13)", () => {
  // 2010-11-07 00:01 became 2010-11-06 23:01.
  assert.equal(starts("day", "America/St_Johns", "2010-11-07T03:00:00Z")[1], "2010-11-07T02:30:00.000Z");
});

test("calendarBoundaries count days of 23 and 25 hours, weeks from Monday, months of any length (L13)", () => {
  const lengths = (unit: CalendarUnit, at: string) => {
    const bounds = calendarBoundaries(unit, "Europe/Vienna", Date.parse(at));
    return (bounds[2] - bounds[1]) / 3_600_000;
  };
  assert.equal(lengths("day", "2026-03-29T12:00:00Z"), 23);
  assert.equal(lengths("day", "2026-10-25T12:00:00Z"), 25);
  assert.equal(lengths("month", "2028-02-10T12:00:00Z"), 29 * 24);
  assert.equal(starts("week", "Europe/Vienna", "2026-11-22T22:59:59Z")[1], "2026-11-15T23:00:00.000Z");
  assert.equal(starts("week", "Europe/Vienna", "2026-11-22T23:00:00Z")[1], "2026-11-22T23:00:00.000Z");
  assert.equal(starts("month", "UTC", "2026-12-31T23:59:59Z")[2], "2027-01-01T00:00:00.000Z");
});

test("isTimezone knows IANA's zones and nothing else", () => {
  for (const zone of ZONES) assert.ok(isTimezone(zone), zone);
  for (const text of ["Europe/Wien", "", "Mars/Olympus", "+25:00"]) assert.ok(!isTimezone(text), text);
});
