import { InputTokenCounter } from "../../core/estimate/input-shape.ts";
import { textWeightsOf, tokenFamilyOf } from "../../core/estimate/token-family.ts";
import type { Endpoint, ParsedCall } from "../../ports/provider-format.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../http/body-json.ts";
import { countOf, type FieldWording, modelOf, streamOf } from "../http/request-fields.ts";
import { uncountedCall } from "../http/uncounted-call.ts";
import { addInputTokens } from "./input-tokens.ts";

const NOT_JSON = "The request body is not valid JSON: a JSON object is expected.";

/** Near to Anthropic's own words, so that what people know to look for is there. */
const WORDING: FieldWording = {
  noModel: "model: Field required",
  notA: (field, expected, got) => `${field}: Input should be a valid ${expected}, got ${got}`,
  belowOne: (field, got) => `${field}: Input should be greater than or equal to 1, got ${got}`,
};

/** See `ProviderFormat.parseCall`. Counting model tokens is free: such a call has a model, and nothing to hold. */
export function parseCall(endpoint: Endpoint, body: Buffer): ParsedCall {
  switch (endpoint) {
    case "messages":
    case "count_tokens":
      return parseKnown(endpoint, body);
    case "chat_completions":
    case "responses":
    case "embeddings":
    case "completions":
    case "models":
    case "other":
      return uncountedCall(endpoint, body);
  }
}

function parseKnown(endpoint: "messages" | "count_tokens", body: Buffer): ParsedCall {
  const value = parseJsonObject(body, { notJson: NOT_JSON });
  const model = modelOf(value, WORDING);
  const stream = streamOf(value, WORDING);
  const outputTokensMax = countOf(value, "max_tokens", WORDING);
  if (endpoint === "count_tokens") return { ...uncountedCall(endpoint, body), model };
  const counter = new InputTokenCounter(textWeightsOf(tokenFamilyOf(model)));
  addInputTokens(counter, value);
  return {
    endpoint,
    model,
    stream,
    estimate: {
      inputTokens: Math.round(counter.tokens),
      inputShape: counter.shapeAt(endpoint),
      outputTokensMax,
      effort: effortOf(value),
      serviceTier: tierAskedFor(value),
    },
    upstreamBody: body,
    usageSpliced: false,
  };
}

/** `service_tier` leaves it to the provider, which says in its answer what it has done. */
function tierAskedFor({ speed, inference_geo }: JsonObject): string | undefined {
  if (speed === "fast") return "fast";
  return inference_geo === "us" ? "us" : undefined;
}

/** A thinking budget by its power of two, since a few tokens more are no other effort; `adaptive`, `disabled` as they stand. */
function effortOf({ thinking }: JsonObject): string | undefined {
  if (!isJsonObject(thinking)) return undefined;
  const { type, budget_tokens: budget } = thinking;
  if (typeof budget === "number" && budget > 0) return `2^${Math.floor(Math.log2(budget))}`;
  return typeof type === "string" ? type : undefined;
}
