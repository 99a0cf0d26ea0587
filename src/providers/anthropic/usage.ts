import type { Usage } from "../../core/estimate/usage.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { coherentUsage, reportedCount, reportsAny } from "../http/reported-usage.ts";
import { tierOf, withTier } from "../http/service-tier.ts";

/** Steps of a call that its usage as a whole leaves out, though they are billed: the summary of a context that got too long, and the advice of another model. */
const APART: ReadonlySet<unknown> = new Set(["compaction", "advisor_message"]);
/** The step of the model that has answered in place of one that declined. */
const FALLBACK = "fallback_message";

/**
 * The usage object of a message; `input_tokens` leaves out what the cache wrote and read, `inputTokens` has all. With what was run apart from the answer. `undefined` where a
 * number is absurd or none is there.
 */
export function readUsage(usage: JsonObject): Usage | undefined {
  const own = readStep(usage);
  const steps = Array.isArray(usage.iterations) ? usage.iterations.filter(isJsonObject) : [];
  if (own === undefined || steps.length === 0) return own;
  const apart = steps.filter(({ type }) => APART.has(type)).map(readOtherStep);
  if (apart.includes(undefined)) return undefined;
  const served = steps.findLast(({ type }) => type === FALLBACK);
  return {
    ...own,
    ...(served === undefined ? {} : modelOf(served)),
    ...(apart.length === 0 ? {} : { apart: apart as readonly Usage[] }),
  };
}

const modelOf = ({ model }: JsonObject): Partial<Usage> =>
  typeof model === "string" && model !== "" ? { model } : {};

function readOtherStep(step: JsonObject): Usage | undefined {
  const usage = readStep(step);
  return usage === undefined ? undefined : { ...usage, ...modelOf(step) };
}

function readStep(usage: JsonObject): Usage | undefined {
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
    ...billedApart(usage),
    ...withTier(servedAs(usage)),
  });
}

/** Whichever of the three ways of serving that have a price of their own comes first. */
function servedAs({ service_tier, speed, inference_geo }: JsonObject): string | undefined {
  if (speed === "fast") return "fast";
  return inference_geo === "us" ? "us" : tierOf(service_tier);
}

/** What has a price of its own: cache writes that are kept for an hour, and searches. Only what is there, which it seldom is. */
function billedApart({ cache_creation, server_tool_use }: JsonObject): Partial<Usage> {
  const long = isJsonObject(cache_creation) ? reportedCount(cache_creation.ephemeral_1h_input_tokens) : 0;
  const searches = isJsonObject(server_tool_use) ? reportedCount(server_tool_use.web_search_requests) : 0;
  return {
    ...(long ? { cacheWriteLongInputTokens: long } : {}),
    ...(searches ? { webSearches: searches } : {}),
  };
}

/** The later of two usages of one stream: fields that the later one repeats replace the earlier ones, the others stay. */
export function mergedUsage(earlier: JsonObject | undefined, later: JsonObject): JsonObject {
  const merged: Record<string, unknown> = { ...earlier };
  for (const [field, value] of Object.entries(later)) {
    if (value !== null && value !== undefined) merged[field] = value;
  }
  return merged;
}
