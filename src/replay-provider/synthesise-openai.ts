import { type Answer, type AnswerUsage, jsonAnswer, sse, streamAnswer } from "./answer.ts";
import { asksForUsage } from "./canonical-json.ts";
import { SYNTHETIC_EPOCH_S, type Synthesis } from "./synthesis.ts";
import { type SyntheticText, syntheticText } from "./synthetic-text.ts";
import { answersWanted, outputTokensMaxOf } from "./token-count.ts";

/** What each of the answers that are asked for (`n`) says. */
function choicesOf(synthesis: Synthesis): readonly SyntheticText[] {
  const { body, seed, outputTokens } = synthesis;
  return Array.from({ length: answersWanted(body) }, () =>
    syntheticText(seed, outputTokensMaxOf(body), outputTokens),
  );
}

const finishReason = (choice: SyntheticText) => (choice.isCut ? "length" : "stop");

function usageOf(synthesis: Synthesis, choices: readonly SyntheticText[]): AnswerUsage {
  return {
    inputTokens: synthesis.inputTokens,
    outputTokens: choices.reduce((sum, choice) => sum + choice.words.length, 0),
  };
}

/** As OpenAI says it: a tier that was asked for by name, else the usual one. */
export const servedAs = (asked: unknown): string =>
  asked === "flex" || asked === "priority" ? asked : "default";

/** OpenAI's own shape of a usage for chats and completions. */
export function chatUsage({ inputTokens, outputTokens }: AnswerUsage): Readonly<Record<string, unknown>> {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function synthesiseChat(synthesis: Synthesis): Answer {
  const { body, seed } = synthesis;
  const choices = choicesOf(synthesis);
  const usage = usageOf(synthesis, choices);
  const base = (object: string) => ({
    id: `chatcmpl-${seed.hex.slice(0, 29)}`,
    object,
    created: SYNTHETIC_EPOCH_S,
    model: body.model,
    service_tier: servedAs(body.service_tier),
    system_fingerprint: `fp_${seed.hex.slice(-10)}`,
  });
  if (body.stream !== true)
    return jsonAnswer(
      {
        ...base("chat.completion"),
        choices: choices.map((choice, index) => ({
          index,
          message: { role: "assistant", content: choice.text, refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: finishReason(choice),
        })),
        usage: chatUsage(usage),
      },
      usage,
    );
  const head = base("chat.completion.chunk");
  const chunk = (index: number, delta: unknown, finish: string | null = null) => ({
    ...head,
    choices: [{ index, delta, logprobs: null, finish_reason: finish }],
  });
  const chunks = [
    ...choices.map((_, index) => chunk(index, { role: "assistant", content: "", refusal: null })),
    ...interleaved(choices).map(({ index, word }) => chunk(index, { content: word })),
    ...choices.map((choice, index) => chunk(index, {}, finishReason(choice))),
  ];
  return streamAnswer(openAiEvents(chunks, head, asksForUsage(body) ? usage : undefined), usage);
}

export function synthesiseCompletion(synthesis: Synthesis): Answer {
  const { body, seed } = synthesis;
  const choices = choicesOf(synthesis);
  const usage = usageOf(synthesis, choices);
  const head = {
    id: `cmpl-${seed.hex.slice(0, 29)}`,
    object: "text_completion",
    created: SYNTHETIC_EPOCH_S,
    model: body.model,
  };
  const choice = (index: number, text: string, finish: string | null) => ({
    text,
    index,
    logprobs: null,
    finish_reason: finish,
  });
  if (body.stream !== true)
    return jsonAnswer(
      {
        ...head,
        choices: choices.map((made, index) => choice(index, made.text, finishReason(made))),
        usage: chatUsage(usage),
      },
      usage,
    );
  const chunks = [
    ...interleaved(choices).map(({ index, word }) => ({ ...head, choices: [choice(index, word, null)] })),
    ...choices.map((made, index) => ({ ...head, choices: [choice(index, "", finishReason(made))] })),
  ];
  return streamAnswer(openAiEvents(chunks, head, asksForUsage(body) ? usage : undefined), usage);
}

/** The words of all choices as a provider sends them: in turns. */
function interleaved(choices: readonly SyntheticText[]): readonly { index: number; word: string }[] {
  const longest = Math.max(...choices.map(({ words }) => words.length));
  return Array.from({ length: longest }, (_, turn) =>
    choices.flatMap(({ words }, index) => (turn < words.length ? [{ index, word: words[turn]! }] : [])),
  ).flat();
}

/** With `usage`: `usage: null` in every chunk, and one more without choices that has it. Without: not a word of it. */
function openAiEvents(
  chunks: readonly Readonly<Record<string, unknown>>[],
  head: Readonly<Record<string, unknown>>,
  usage: AnswerUsage | undefined,
): readonly string[] {
  if (usage === undefined) return [...chunks.map((chunk) => sse(chunk)), sse("[DONE]")];
  return [
    ...chunks.map((chunk) => sse({ ...chunk, usage: null })),
    sse({ ...head, choices: [], usage: chatUsage(usage) }),
    sse("[DONE]"),
  ];
}

/** Numbers in an embedding where the call names none. */
const DIMENSIONS_DEFAULT = 1536;
const DIMENSIONS_LARGE = 3072;
/** OpenAI's own bounds. */
const INPUTS_MAX = 2048;

export function synthesiseEmbeddings(synthesis: Synthesis): Answer {
  const { body, inputTokens } = synthesis;
  const { input } = body;
  // An array of numbers is one input, given as token ids.
  const inputs = Array.isArray(input) && typeof input[0] !== "number" ? input.length : 1;
  const usage = { inputTokens, outputTokens: 0 };
  const data = Array.from({ length: Math.min(inputs, INPUTS_MAX) }, (_, index) => ({
    object: "embedding",
    index,
    embedding: encode(unitVector(synthesis), body.encoding_format),
  }));
  return jsonAnswer(
    {
      object: "list",
      data,
      model: body.model,
      usage: { prompt_tokens: inputTokens, total_tokens: inputTokens },
    },
    usage,
  );
}

function unitVector({ body, seed }: Synthesis): Float32Array {
  const asked = body.dimensions;
  const size =
    typeof asked === "number" && Number.isInteger(asked) && asked >= 1 && asked <= DIMENSIONS_LARGE
      ? asked
      : body.model.includes("large")
        ? DIMENSIONS_LARGE
        : DIMENSIONS_DEFAULT;
  const vector = Float32Array.from({ length: size }, () => seed.below(2001) / 1000 - 1);
  const norm = Math.hypot(...vector) || 1;
  return vector.map((value) => value / norm);
}

function encode(vector: Float32Array, format: unknown): string | readonly number[] {
  if (format !== "base64") return Array.from(vector, (value) => Number(value.toFixed(7)));
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
}
