import type { Usage } from "../../core/estimate/usage.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { coherentUsage, reportedCount, reportsAny } from "../http/reported-usage.ts";
import { tierOf, withTier } from "../http/service-tier.ts";

const INPUT_DETAILS = ["prompt_tokens_details", "input_tokens_details", "prompt_token_details"];
const OUTPUT_DETAILS = ["completion_tokens_details", "output_tokens_details"];

/**
 * The usage object of chat completions, completions and embeddings, or of the Responses API. `undefined` where a number is absurd or none is there. Of what stands
 * `beside` it, `service_tier` and `tool_usage` count.
 */
export function readUsage(usage: JsonObject, beside: JsonObject = {}): Usage | undefined {
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
  // Some hosts leave audio out of the input (Mistral), or reasoning out of the output (xAI); their totals have it, and their bills.
  const apart = (part: number | undefined) =>
    part !== undefined && usage.total_tokens === inputTokens + outputTokens + part ? part : 0;
  const [audioApart, reasoningApart] = [apart(audioInput), apart(reasoning)];
  const searches = webSearches(usage, beside);
  return coherentUsage({
    inputTokens,
    // A broken part of a sane whole is left out: the whole is what limits count.
    cachedInputTokens: cached ?? 0,
    cacheWriteInputTokens: written ?? 0,
    outputTokens,
    reasoningTokens: reasoningApart ? 0 : (reasoning ?? 0),
    ...(reasoningApart ? { reasoningApartTokens: reasoningApart } : {}),
    ...(audioApart
      ? { audioInputApartTokens: audioApart }
      : audioInput
        ? { audioInputTokens: audioInput }
        : {}),
    ...(audioOutput ? { audioOutputTokens: audioOutput } : {}),
    ...(searches ? { webSearches: searches } : {}),
    ...withTier(tierOf(beside.service_tier)),
  });
}

/** As OpenAI counts them, beside the usage, or xAI, in it. */
function webSearches(
  { server_side_tool_usage_details: xai }: JsonObject,
  { tool_usage }: JsonObject,
): number {
  const openai = isJsonObject(tool_usage) ? tool_usage.web_search : undefined;
  const count = isJsonObject(openai) ? openai.num_requests : isJsonObject(xai) ? xai.web_search_calls : 0;
  return reportedCount(count) ?? 0;
}

function detail(usage: JsonObject, groups: readonly string[], field: string): unknown {
  for (const group of groups) {
    const details = usage[group];
    if (isJsonObject(details) && details[field] !== undefined) return details[field];
  }
  return undefined;
}
