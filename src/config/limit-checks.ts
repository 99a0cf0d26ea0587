import { exactDuration } from "../core/duration.ts";
import { DIVISOR_MAX } from "../core/limits/exact-division.ts";
import { parseDuration } from "./duration.ts";
import { asList, asMap, asText, type RawMap, type Report } from "./finding.ts";
import type { KeyPath } from "./problem.ts";

/** Where a limit is written: decides its default scope and which scopes make sense. */
export type LimitPlace = "plan" | "shared" | "account";

/** Above a year a rolling window is a mistake; calendar windows serve budgets. */
const WINDOW_MS_MAX = 366 * 86_400_000;
/** Nano-USD must stay safe integers: about nine million dollars. */
const COST_USD_MAX = 9_000_000;
/** A nano-dollar. */
const COST_USD_MIN = 1e-9;
const CALENDAR_UNITS = ["day", "week", "month"];

const isCalendar = (per: unknown) => typeof per === "string" && CALENDAR_UNITS.includes(per);

/** The scopes of a limit, sorted; the place's own where it gives none. */
export function scopesOf(limit: RawMap, place: LimitPlace): readonly string[] {
  if (limit.scope === undefined) return place === "account" ? ["account"] : ["user"];
  const scopes = typeof limit.scope === "string" ? [limit.scope] : asList(limit.scope).map(String);
  return [...scopes].sort();
}

/** `requests-1m`, `feature-user-tokens-1h`, `account-requests-1m`, `concurrency`; the given name where there is one. */
export function limitName(limit: RawMap, place: LimitPlace): string {
  const given = asText(limit.name);
  if (given !== undefined) return given;
  const scopes = scopesOf(limit, place).join("-");
  const per = asText(limit.per);
  const window = per === undefined || isCalendar(per) ? per : exactDuration(parseDuration(per) ?? 0);
  return [scopes === "user" ? undefined : scopes, limit.meter, window]
    .filter((part) => part !== undefined)
    .join("-");
}

/** What is wrong with one limit that takes more than one of its values to see. */
export function checkLimit(limit: RawMap, place: LimitPlace, path: KeyPath, report: Report): void {
  checkAmount(limit, path, report);
  checkWindow(limit, place, path, report);
  checkScope(limit, place, path, report);
  checkExhaustion(limit, path, report);
  if (limit.weights !== undefined && limit.meter !== undefined && limit.meter !== "tokens") {
    report({ path: [...path, "weights"], message: "only the meter tokens has weights" });
  }
  const weights = asMap(limit.weights);
  if (weights.input === 0 && weights.output === 0 && weights.cached_input === 0) {
    report({ path: [...path, "weights"], message: "with all weights at 0 nothing is ever counted" });
  }
}

function checkAmount(limit: RawMap, path: KeyPath, report: Report): void {
  checkUnits(limit, "limit", path, report);
  checkUnits(limit, "burst", path, report);
}

function checkUnits(limit: RawMap, key: "limit" | "burst", path: KeyPath, report: Report): void {
  const amount = limit[key];
  if (typeof amount !== "number" || amount <= 0) return;
  const at = { path: [...path, key], shows: "value" as const };
  if (limit.meter === "cost") {
    if (amount > COST_USD_MAX || amount < COST_USD_MIN) {
      report({ ...at, message: `allowed: US dollars from 0.000000001 to ${COST_USD_MAX}` });
    }
  } else if (limit.meter !== undefined && !Number.isSafeInteger(amount)) {
    report({ ...at, message: `allowed: a whole number (${String(limit.meter)} come in whole units)` });
  }
}

/**
 * Providers count in buckets that refill evenly, so what they grant is reckoned the same way; every other limit is a window in which there is never more than
 * the limit, unless it says otherwise.
 */
export const algorithmOf = (limit: { readonly algorithm?: unknown }, place: LimitPlace): unknown =>
  limit.algorithm ?? (place === "account" ? "token_bucket" : "sliding_window");

function checkWindow(limit: RawMap, place: LimitPlace, path: KeyPath, report: Report): void {
  const has = (key: string) => limit[key] !== undefined;
  const refuse = (key: string, message: string) => {
    if (has(key)) report({ path: [...path, key], atKey: true, message });
  };
  if (limit.meter === "concurrency") {
    for (const key of ["per", "algorithm", "burst", "timezone"]) {
      refuse(key, "the meter concurrency counts open calls and has no window");
    }
    refuse("reserve", "the meter concurrency always holds its slot");
    return;
  }
  if (!has("per")) {
    if (limit.meter !== undefined) {
      report({
        path: [...path, "per"],
        message: '"per" is missing; it is a duration such as 1m or 1h, or day, week, month',
      });
    }
  } else if (isCalendar(limit.per)) {
    refuse("algorithm", `a ${limit.per} is a calendar window: only rolling windows have an algorithm`);
    refuse("burst", `a ${limit.per} is a calendar window: only a token bucket has a burst`);
    return;
  }
  if (has("per")) refuse("timezone", "only day, week and month start at somebody's midnight");
  const isBucket = algorithmOf(limit, place) === "token_bucket";
  if (!isBucket) refuse("burst", "only algorithm: token_bucket has a burst");
  const windowMs = parseDuration(asText(limit.per) ?? "");
  if (windowMs === undefined) return;
  const windowMsMax = isBucket ? DIVISOR_MAX - 1 : WINDOW_MS_MAX;
  if (windowMs < 1 || windowMs > windowMsMax) {
    const most = isBucket ? "49d for a token bucket" : "366d";
    report({ path: [...path, "per"], shows: "value", message: `allowed: from 1ms to ${most}` });
  }
}

/** Meters that do not grow while an answer is written. */
const FIXED_METERS: readonly unknown[] = ["requests", "concurrency", "input_tokens"];

function checkExhaustion(limit: RawMap, path: KeyPath, report: Report): void {
  if (limit.on_exhausted === undefined || !FIXED_METERS.includes(limit.meter)) return;
  const message = `the meter ${String(limit.meter)} is known when a call starts: nothing of it is used up in mid-stream`;
  report({ path: [...path, "on_exhausted"], atKey: true, message });
}

function checkScope(limit: RawMap, place: LimitPlace, path: KeyPath, report: Report): void {
  const scopes = scopesOf(limit, place);
  const at = { path: [...path, "scope"] };
  if (new Set(scopes).size < scopes.length) report({ ...at, message: "a scope is named twice" });
  if (scopes.length > 1 && scopes.includes("global")) {
    report({ ...at, message: "global means one counter for all: it stands alone" });
  }
  if (place !== "account") return;
  if (!scopes.includes("account") || scopes.some((scope) => scope !== "account" && scope !== "model")) {
    report({ ...at, message: "an account's limit is counted per account, or per [account, model]" });
  }
  for (const attribute of Object.keys(asMap(limit.match))) {
    if (attribute === "model") continue;
    report({
      path: [...path, "match", attribute],
      atKey: true,
      message: "an account's limit holds for all of its callers: it can be matched by model only",
    });
  }
}
