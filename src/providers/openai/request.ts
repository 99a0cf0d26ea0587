import { InputTokenCounter } from "../../core/estimate/input-shape.ts";
import { textWeightsOf, tokenFamilyOf } from "../../core/estimate/token-family.ts";
import type { Endpoint, ParsedCall } from "../../ports/provider-format.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject, parseJsonObject } from "../http/body-json.ts";
import { withUsageIncluded } from "../http/json-splice.ts";
import { cappedProduct, countOf, type FieldWording, modelOf, streamOf } from "../http/request-fields.ts";
import { tierOf } from "../http/service-tier.ts";
import { uncountedCall } from "../http/uncounted-call.ts";
import { addInputTokens } from "./input-tokens.ts";

const NOT_JSON =
  "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, and what was sent is no valid JSON object.";

/** Near to OpenAI's own words, so that what people know to look for is there. */
const WORDING: FieldWording = {
  noModel: "you must provide a model parameter",
  notA: (field, expected, got) =>
    `Invalid type for '${field}': expected ${/^[aeio]/.test(expected) ? "an" : "a"} ${expected}, but got ${got} instead.`,
  belowOne: (field, got) =>
    `Invalid '${field}': integer below minimum value. Expected a value >= 1, but got ${got} instead.`,
};

/** See `ProviderFormat.parseCall`. */
export function parseCall(endpoint: Endpoint, body: Buffer): ParsedCall {
  switch (endpoint) {
    case "chat_completions":
    case "responses":
    case "embeddings":
    case "completions":
      return parseKnown(endpoint, body);
    case "messages":
    case "count_tokens":
    case "models":
    case "other":
      return uncountedCall(endpoint, body);
  }
}

function parseKnown(endpoint: Endpoint, body: Buffer): ParsedCall {
  const value = parseJsonObject(body, { notJson: NOT_JSON });
  const model = modelOf(value, WORDING);
  const stream = streamOf(value, WORDING);
  const answers = answerCount(endpoint, value);
  const outputTokensMax = outputMax(endpoint, value, answers);
  const counter = new InputTokenCounter(textWeightsOf(tokenFamilyOf(model)));
  addInputTokens(counter, endpoint, value);
  const streamsUsageOnDemand = endpoint === "chat_completions" || endpoint === "completions";
  const spliced = stream && streamsUsageOnDemand ? withUsageIncluded(body) : undefined;
  return {
    endpoint,
    model,
    stream,
    estimate: {
      inputTokens: Math.round(counter.tokens),
      inputShape: counter.shapeAt(endpoint),
      outputTokensMax,
      answers,
      effort: effortOf(value),
      serviceTier: tierOf(value.service_tier),
    },
    upstreamBody: spliced ?? body,
    usageSpliced: spliced !== undefined,
    runsOn: endpoint === "responses" && value.background === true,
  };
}

/** What the most that the model may write is called, and where. Elsewhere nobody obeys that name: it must be sane, and bounds nothing. */
const MAXIMA: readonly (readonly [field: string, endpoints: readonly Endpoint[]])[] = [
  ["max_tokens", ["chat_completions", "completions"]],
  ["max_completion_tokens", ["chat_completions"]],
  ["max_output_tokens", ["responses"]],
];

/** The most that the call lets the model write; of two names for it the larger, as hosts differ in which they obey. */
function outputMax(endpoint: Endpoint, body: JsonObject, answers: number): number | undefined {
  let most: number | undefined;
  for (const [field, endpoints] of MAXIMA) {
    const given = countOf(body, field, WORDING);
    if (given !== undefined && endpoints.includes(endpoint)) most = Math.max(most ?? 0, given);
  }
  return endpoint === "embeddings" ? 0 : cappedProduct(most, answers);
}

/** How many answers are written, those that the caller never sees (`best_of`) included. */
function answerCount(endpoint: Endpoint, body: JsonObject): number {
  const each = Math.max(countOf(body, "n", WORDING) ?? 1, countOf(body, "best_of", WORDING) ?? 1);
  return endpoint === "completions" ? each * promptCount(body.prompt) : each;
}

/** `reasoning_effort` of chat completions, `reasoning.effort` of responses. */
function effortOf({ reasoning_effort: chat, reasoning }: JsonObject): string | undefined {
  const effort = chat ?? (isJsonObject(reasoning) ? reasoning.effort : undefined);
  return typeof effort === "string" ? effort : undefined;
}

/** A legacy completion answers every text, or list of model tokens, in a list. */
function promptCount(prompt: unknown): number {
  return isNonEmptyArray(prompt) && typeof prompt[0] !== "number" ? prompt.length : 1;
}
