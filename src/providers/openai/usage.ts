import type { Usage } from "../../core/estimate/usage.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { coherentUsage, reportedCount, reportsAny } from "../http/reported-usage.ts";
import { tierOf, withTier } from "../http/service-tier.ts";

const INPUT_DETAILS = ["prompt_tokens_details", "input_tokens_details", "prompt_token_details"];
const OUTPUT_DETAILS = ["completion_tokens_details", "output_tokens_details"];

/**
 * The usage object of chat completions, completions and embeddings, or of the Responses API. `undefined` where a number is absurd or none is there. `tier` is
 * what stands beside it as `service_tier`.
 */
export function readUsage(usage: JsonObject, tier?: unknown): Usage | undefined {
  if (!reportsAny(usage, ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"])) {
    return undefined;
  }
  const inputTokens = reportedCount(usage.prompt_tokens ?? usage.input_tokens);
  const outputTokens = reportedCount(usage.completion_tokens ?? usage.output_tokens);
  const cached = reportedCount(detail(usage, INPUT_DETAILS, "cached_tokens"));
  const written = reportedCount(detail(usage, INPUT_DETAILS, "cache_write_tokens"));
  const reasoning = reportedCount(detail(usage, OUTPUT_DETAILS, "reasoning_tokens"));
  const audioInput = reportedCount(detail(usage, INPUT_DETAILS, "audio_tokens"));
  const audioOutput = reportedCount(detail(usage, OUTPUT_DETAILS, "audio_tokens"));
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  return coherentUsage({
    inputTokens,
    // A broken part of a sane whole is left out: the whole is what limits count.
    cachedInputTokens: cached ?? 0,
    cacheWriteInputTokens: written ?? 0,
    outputTokens,
    reasoningTokens: reasoning ?? 0,
    ...(audioInput ? { audioInputTokens: audioInput } : {}),
    ...(audioOutput ? { audioOutputTokens: audioOutput } : {}),
    ...withTier(tierOf(tier)),
  });
}

function detail(usage: JsonObject, groups: readonly string[], field: string): unknown {
  for (const group of groups) {
    const details = usage[group];
    if (isJsonObject(details) && details[field] !== undefined) return details[field];
  }
  return undefined;
}
