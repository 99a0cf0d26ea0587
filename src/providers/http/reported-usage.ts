import type { Usage } from "../../core/estimate/usage.ts";
import type { JsonObject } from "./body-json.ts";

/** No call uses a billion tokens: a greater number is a mistake or an attack, and would freeze every limit it is charged to. */
const TOKENS_MAX = 1_000_000_000;

/** A count as a provider reports it: absent or null is none, `undefined` is absurd (negative, broken, a text, out of bounds). */
export function reportedCount(value: unknown): number | undefined {
  if (value === undefined || value === null) return 0;
  const sane = typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= TOKENS_MAX;
  return sane ? value : undefined;
}

/** Whether a usage has at least one of these counts at all. */
export function reportsAny(usage: JsonObject, fields: readonly string[]): boolean {
  return fields.some((field) => usage[field] !== undefined && usage[field] !== null);
}

/** Brings parts within their whole: some hosted models report more cached than prompt tokens. */
export function coherentUsage(usage: Usage): Usage {
  const cachedInputTokens = Math.min(usage.cachedInputTokens, usage.inputTokens);
  // What is priced apart, and rare, is taken as it comes: prices keep parts within their whole by themselves.
  return {
    ...usage,
    inputTokens: usage.inputTokens,
    cachedInputTokens,
    cacheWriteInputTokens: Math.min(usage.cacheWriteInputTokens, usage.inputTokens - cachedInputTokens),
    outputTokens: usage.outputTokens,
    reasoningTokens: Math.min(usage.reasoningTokens, usage.outputTokens),
  };
}
