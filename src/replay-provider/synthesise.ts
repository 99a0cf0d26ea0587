import type { Endpoint } from "../ports/provider-format.ts";
import { type Answer, jsonAnswer } from "./answer.ts";
import { errorAnswer } from "./provider-errors.ts";
import { isObject } from "./recording.ts";
import { type CallBody, SYNTHETIC_EPOCH_S, type Synthesis } from "./synthesis.ts";
import { synthesiseMessages } from "./synthesise-messages.ts";
import { synthesiseChat, synthesiseCompletion, synthesiseEmbeddings } from "./synthesise-openai.ts";
import { synthesiseResponse } from "./synthesise-responses.ts";
import { Seed } from "./synthetic-text.ts";
import { inputTokensOf } from "./token-count.ts";
import type { WireFormat } from "./wire-format.ts";

/** A request that no recording answers. */
export interface SynthesisRequest {
  readonly method: string;
  readonly path: string;
  readonly format: WireFormat;
  readonly endpoint: Endpoint;
  /** The parsed body, or the text where it is not JSON. */
  readonly body: unknown;
  /** Replaces the length that follows from the request; its own maximum still holds. */
  readonly outputTokens: number | undefined;
}

/** A valid answer in the provider's own shapes, the same bytes for the same request. Errors are the provider's own, too. */
export function synthesise(request: SynthesisRequest): Answer {
  const { body, endpoint, format, method, path } = request;
  if (endpoint === "models") return modelsAnswer(path, format);
  if (endpoint === "other") return errorAnswer(format, 404, { message: `Invalid URL (${method} ${path})` });
  if (!isObject(body))
    return errorAnswer(format, 400, {
      message:
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly.)",
    });
  if (!isCall(body)) return errorAnswer(format, 400, { message: "you must provide a model parameter" });
  const synthesis: Synthesis = {
    body,
    seed: Seed.ofBody(body),
    inputTokens: inputTokensOf(body),
    outputTokens: request.outputTokens,
  };
  switch (endpoint) {
    case "chat_completions":
      return synthesiseChat(synthesis);
    case "completions":
      return synthesiseCompletion(synthesis);
    case "embeddings":
      return synthesiseEmbeddings(synthesis);
    case "responses":
      return synthesiseResponse(synthesis);
    case "messages":
      return synthesiseMessages(synthesis);
    case "count_tokens":
      return jsonAnswer({ input_tokens: synthesis.inputTokens });
  }
}

function isCall(body: Readonly<Record<string, unknown>>): body is CallBody {
  return typeof body.model === "string" && body.model !== "";
}

const OPENAI_MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-5-mini", "text-embedding-3-small"];
const ANTHROPIC_MODELS = ["claude-sonnet-4-5", "claude-haiku-4-5"];

function modelsAnswer(path: string, format: WireFormat): Answer {
  const named = /\/models\/([^/?]+)/.exec(path)?.[1];
  const known = format === "anthropic" ? ANTHROPIC_MODELS : OPENAI_MODELS;
  const describe: (id: string) => Readonly<Record<string, unknown>> =
    format === "anthropic" ? anthropicModel : openAiModel;
  if (named !== undefined) {
    const id = decodedOrUndefined(named);
    if (id === undefined || !known.includes(id))
      return errorAnswer(format, 404, {
        message: `The model '${named}' does not exist`,
        code: "model_not_found",
      });
    return jsonAnswer(describe(id));
  }
  const data = known.map(describe);
  return jsonAnswer(
    format === "anthropic"
      ? { data, has_more: false, first_id: known[0], last_id: known.at(-1) }
      : { object: "list", data },
  );
}

function decodedOrUndefined(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

const openAiModel = (id: string) => ({
  id,
  object: "model",
  created: SYNTHETIC_EPOCH_S,
  owned_by: "replay-provider",
});

const anthropicModel = (id: string) => ({
  type: "model",
  id,
  display_name: id,
  created_at: new Date(SYNTHETIC_EPOCH_S * 1000).toISOString(),
});
