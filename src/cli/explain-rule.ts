import { formatDuration } from "../config/duration.ts";
import type { LimitRule } from "../core/policy/policy.ts";

const METERS: Readonly<Record<LimitRule["meter"], string>> = {
  requests: "requests",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
  tokens: "tokens",
  cost: "nano-USD",
  concurrency: "requests at once",
};

function windowInWords({ window, limit }: LimitRule): string {
  switch (window.kind) {
    case "rolling":
      return ` in any ${formatDuration(window.windowMs)}`;
    case "token_bucket":
      return ` per ${formatDuration(window.windowMs)}, evenly, ${window.burst === limit ? "all" : window.burst} of them at once`;
    case "calendar":
      return ` a ${window.unit}, from midnight in ${window.timezone}`;
    case "open":
      return "";
  }
}

/** `10 requests in any 1m, per user ("requests-1m")`. */
export function explainRule(rule: LimitRule): string {
  const matches = Object.entries(rule.match).map(([attribute, glob]) => `${attribute} ${glob}`);
  const only = matches.length === 0 ? "" : `, only for ${matches.join(" and ")}`;
  const scope =
    rule.scope.join(" and ") === "global" ? "over all callers" : `per ${rule.scope.join(" and ")}`;
  const reserve = rule.reserve === "expected" ? "" : `, reserving ${rule.reserve.replace("_", " ")}`;
  const shadow = rule.mode === "shadow" ? ", only counted (shadow)" : "";
  const failure = `; without the store: ${rule.onStoreFailure}`;
  return `${rule.limit} ${METERS[rule.meter]}${windowInWords(rule)}, ${scope}${only}${reserve}${shadow}${failure} ("${rule.name}")`;
}
