import type { Usage } from "../../core/estimate/usage.ts";
import type { JsonObject } from "../http/body-json.ts";
import { coherentUsage, reportedCount, reportsAny } from "../http/reported-usage.ts";

/** The usage object of a message; `input_tokens` leaves out what the cache wrote and read, `inputTokens` has all. `undefined` where a number is absurd or none is there. */
export function readUsage(usage: JsonObject): Usage | undefined {
  if (!reportsAny(usage, ["input_tokens", "output_tokens"])) return undefined;
  const uncached = reportedCount(usage.input_tokens);
  const written = reportedCount(usage.cache_creation_input_tokens);
  const read = reportedCount(usage.cache_read_input_tokens);
  const outputTokens = reportedCount(usage.output_tokens);
  if (uncached === undefined || written === undefined || read === undefined || outputTokens === undefined) {
    return undefined;
  }
  return coherentUsage({
    inputTokens: uncached + written + read,
    cachedInputTokens: read,
    cacheWriteInputTokens: written,
    outputTokens,
    reasoningTokens: 0,
  });
}

/** The later of two usages of one stream: fields that the later one repeats replace the earlier ones, the others stay. */
export function mergedUsage(earlier: JsonObject | undefined, later: JsonObject): JsonObject {
  const merged: Record<string, unknown> = { ...earlier };
  for (const [field, value] of Object.entries(later)) {
    if (value !== null && value !== undefined) merged[field] = value;
  }
  return merged;
}
