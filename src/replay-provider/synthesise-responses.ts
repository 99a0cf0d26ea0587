import { type Answer, type AnswerUsage, jsonAnswer, sse, streamAnswer } from "./answer.ts";
import { SYNTHETIC_EPOCH_S, type Synthesis } from "./synthesis.ts";
import { servedAs } from "./synthesise-openai.ts";
import { type SyntheticText, syntheticText } from "./synthetic-text.ts";
import { outputTokensMaxOf } from "./token-count.ts";

/** OpenAI's Responses API. */
export function synthesiseResponse(synthesis: Synthesis): Answer {
  const { body, seed, inputTokens, outputTokens } = synthesis;
  const made = syntheticText(seed, outputTokensMaxOf(body), outputTokens);
  const usage: AnswerUsage = { inputTokens, outputTokens: made.words.length };
  const whole = response(synthesis, made, usage);
  return body.stream === true
    ? streamAnswer(events(synthesis, made, whole), usage)
    : jsonAnswer(whole, usage);
}

const messageId = (synthesis: Synthesis) => `msg_${synthesis.seed.hex}`;

const textPart = (text: string) => ({ type: "output_text", annotations: [], logprobs: [], text });

function message(synthesis: Synthesis, status: string, content: readonly unknown[]): unknown {
  return { id: messageId(synthesis), type: "message", status, content, role: "assistant" };
}

type ResponseObject = Readonly<Record<string, unknown>>;

function response(synthesis: Synthesis, made: SyntheticText, usage: AnswerUsage): ResponseObject {
  const { body, seed } = synthesis;
  const status = made.isCut ? "incomplete" : "completed";
  return {
    id: `resp_${seed.hex}`,
    object: "response",
    created_at: SYNTHETIC_EPOCH_S,
    status,
    background: false,
    error: null,
    incomplete_details: made.isCut ? { reason: "max_output_tokens" } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model: body.model,
    output: [message(synthesis, status, [textPart(made.text)])],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: servedAs(body.service_tier),
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: { type: "text" } },
    tool_choice: body.tool_choice ?? "auto",
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: "disabled",
    usage: {
      input_tokens: usage.inputTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: usage.outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.inputTokens + usage.outputTokens,
    },
    user: null,
    metadata: body.metadata ?? {},
  };
}

function events(synthesis: Synthesis, made: SyntheticText, whole: ResponseObject): readonly string[] {
  const status = String(whole.status);
  const begun = { ...whole, status: "in_progress", incomplete_details: null, output: [], usage: null };
  const place = { item_id: messageId(synthesis), output_index: 0, content_index: 0 };
  const list: readonly Readonly<Record<string, unknown>>[] = [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    {
      type: "response.output_item.added",
      output_index: 0,
      item: message(synthesis, "in_progress", []),
    },
    { type: "response.content_part.added", ...place, part: textPart("") },
    ...made.words.map((delta) => ({ type: "response.output_text.delta", ...place, delta, logprobs: [] })),
    { type: "response.output_text.done", ...place, text: made.text, logprobs: [] },
    { type: "response.content_part.done", ...place, part: textPart(made.text) },
    {
      type: "response.output_item.done",
      output_index: 0,
      item: message(synthesis, status, [textPart(made.text)]),
    },
    { type: `response.${status}`, response: whole },
  ];
  return list.map((event, index) => sse({ ...event, sequence_number: index }, String(event.type)));
}
