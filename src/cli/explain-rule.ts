import { exactDuration } from "../core/duration.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import { usdOfNano } from "../core/price/usd.ts";

const UNITS: Readonly<Record<LimitRule["meter"], string>> = {
  requests: "requests",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
  tokens: "tokens",
  cost: "US dollars",
  concurrency: "calls at once",
};

const count = (amount: number) => amount.toLocaleString("en-US", { maximumFractionDigits: 9 });

function amountText({ meter, limit }: LimitRule): string {
  const amount = meter === "cost" ? usdOfNano(limit) : limit;
  const unit = amount === 1 ? UNITS[meter].replace(/s\b/, "") : UNITS[meter];
  return `${count(amount)} ${unit}`;
}

function windowText({ window, meter }: LimitRule): string {
  switch (window.kind) {
    case "rolling":
      return ` in any ${exactDuration(window.windowMs)}`;
    case "token_bucket": {
      const burst = meter === "cost" ? usdOfNano(window.burst) : window.burst;
      return ` every ${exactDuration(window.windowMs)}, coming back evenly, up to ${count(burst)} at once`;
    }
    case "calendar":
      return ` a ${window.unit}, from midnight in ${window.timezone}`;
    case "open":
      return "";
  }
}

function scopeText(scope: LimitRule["scope"]): string {
  return scope[0] === "global" ? "for everybody together" : `per ${scope.join(" and ")}`;
}

function weightsText({ meter, weights }: LimitRule): string | undefined {
  const { input, cachedInput, output } = weights;
  if (meter !== "tokens" || (input === 1 && cachedInput === 1 && output === 1)) return undefined;
  return `an input token counts ${input}, a cached one ${cachedInput}, an output token ${output}`;
}

const RESERVE: Readonly<Record<LimitRule["reserve"], string | undefined>> = {
  expected: undefined,
  worst_case:
    "the most that a call lets the model write is held before it, and what is expected where it names no maximum",
  none: "charged after the call",
};

const STORE_FAILURE: Readonly<Record<LimitRule["onStoreFailure"], string | undefined>> = {
  open: "not enforced while the store is away",
  closed: "refuses while the store is away",
  // The default of rates.
  local: undefined,
};

/** A limit in plain words: `at most 10 requests in any 1m, per user`. */
export function explainRule(rule: LimitRule): string {
  const match = Object.entries(rule.match).map(([attribute, glob]) => `${attribute} ${glob}`);
  const details = [
    match.length === 0 ? undefined : `only for ${match.join(" and ")}`,
    weightsText(rule),
    RESERVE[rule.reserve],
    rule.mode === "shadow" ? "SHADOW: only reported, never refused by" : undefined,
    rule.mode === "shadow" ? undefined : STORE_FAILURE[rule.onStoreFailure],
    rule.alertsAt?.length ? `alerts at ${rule.alertsAt.join(", ")} %` : undefined,
    rule.onExhausted === "cut" ? "ends a stream that uses it up" : undefined,
  ];
  const text = `at most ${amountText(rule)}${windowText(rule)}, ${scopeText(rule.scope)}`;
  return [text, ...details.filter((detail) => detail !== undefined)].join("; ");
}
