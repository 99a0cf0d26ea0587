import { isIP } from "node:net";
import { addressMatcher, parseCidr } from "./address-matcher.ts";
import { parseWebhookUrl } from "./alert-schema.ts";
import { asList, asMap, asText, type RawMap, type Report } from "./finding.ts";
import type { KeyPath } from "./problem.ts";
import { isPublicAddress } from "./public-address.ts";

/** A share that is named twice would be told once. */
function checkShares(shares: unknown, path: KeyPath, report: Report): void {
  const seen = new Set<unknown>();
  asList(shares).forEach((share, i) => {
    if (seen.has(share)) report({ path: [...path, i], shows: "value", message: "this share is named twice" });
    seen.add(share);
  });
}

/** What is wrong with a limit's own alerts. */
export function checkLimitAlerts(limit: RawMap, path: KeyPath, report: Report): void {
  checkShares(limit.alerts_at, [...path, "alerts_at"], report);
  if (limit.meter !== "concurrency" || limit.alerts_at === undefined) return;
  const message = "the meter concurrency counts open calls: there is no window in which it is used up";
  report({ path: [...path, "alerts_at"], atKey: true, message });
}

/** What is wrong with the section `alerts` that takes more than one of its values to see. */
export function checkAlerts(file: RawMap, report: Report): void {
  const alerts = asMap(file.alerts);
  checkShares(alerts.at, ["alerts", "at"], report);
  const webhook = asMap(alerts.webhook);
  const url = parseWebhookUrl(asText(webhook.url) ?? "");
  const literal = url?.hostname.replace(/^\[|\]$/g, "") ?? "";
  if (isIP(literal) === 0 || isPublicAddress(literal)) return;
  const ranges = asList(webhook.allow_addresses).filter(
    (range): range is string => typeof range === "string" && parseCidr(range) !== undefined,
  );
  if (addressMatcher(ranges)(literal)) return;
  const message =
    "this is no public address: it is only called where `alerts.webhook.allow_addresses` has it";
  report({ path: ["alerts", "webhook", "url"], message });
}

/** Whether any limit tells anybody anything. */
export function warnOfNoAlerts(file: RawMap, limits: readonly RawMap[], report: Report): void {
  const alerts = asMap(file.alerts);
  if (alerts.webhook === undefined) return;
  const hasDefault = alerts.at === undefined || asList(alerts.at).length > 0;
  const tells = (limit: RawMap) =>
    limit.alerts_at === undefined ? limit.meter === "cost" && hasDefault : asList(limit.alerts_at).length > 0;
  if (limits.some(tells)) return;
  const message = "nothing is ever told to it: no limit is on cost, and none has alerts_at";
  report({ path: ["alerts", "webhook"], atKey: true, message });
}
