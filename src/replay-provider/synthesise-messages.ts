import { type Answer, type AnswerUsage, jsonAnswer, sse, streamAnswer } from "./answer.ts";
import type { Synthesis } from "./synthesis.ts";
import { type SyntheticText, syntheticText } from "./synthetic-text.ts";
import { outputTokensMaxOf } from "./token-count.ts";

/** Anthropic's Messages API. */
export function synthesiseMessages(synthesis: Synthesis): Answer {
  const { body, seed, inputTokens, outputTokens } = synthesis;
  const made = syntheticText(seed, outputTokensMaxOf(body), outputTokens);
  const usage: AnswerUsage = { inputTokens, outputTokens: made.words.length };
  if (body.stream === true) return streamAnswer(events(synthesis, made), usage);
  const whole = {
    ...message(synthesis, made.words.length),
    content: [{ type: "text", text: made.text }],
    stop_reason: stopReason(made),
  };
  return jsonAnswer(whole, usage);
}

const stopReason = (made: SyntheticText) => (made.isCut ? "max_tokens" : "end_turn");

function message({ body, seed, inputTokens }: Synthesis, outputTokens: number) {
  return {
    id: `msg_${seed.hex.slice(0, 24)}`,
    type: "message",
    role: "assistant",
    model: body.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: {
      input_tokens: inputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: outputTokens,
      service_tier: "standard",
    },
  };
}

/** `message_start` has the first word counted, as Anthropic's has; `message_delta` is cumulative. */
function events(synthesis: Synthesis, made: SyntheticText): readonly string[] {
  const list: readonly Readonly<Record<string, unknown>>[] = [
    { type: "message_start", message: message(synthesis, 1) },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "ping" },
    ...made.words.map((text) => ({
      type: "content_block_delta",
      index: 0,
      delta: { type: "text_delta", text },
    })),
    { type: "content_block_stop", index: 0 },
    {
      type: "message_delta",
      delta: { stop_reason: stopReason(made), stop_sequence: null },
      usage: { output_tokens: made.words.length },
    },
    { type: "message_stop" },
  ];
  return list.map((event) => sse(event, String(event.type)));
}
