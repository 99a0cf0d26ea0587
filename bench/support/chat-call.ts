/** How many API keys, each a user of its own, the load rotates over. */
export const KEYS = 1_000;
/** The size of a body, of the question as of the answer, in bytes: a question of some 450 words. */
export const BODY_BYTES = 2_048;

const WORDS =
  "the quick brown fox jumps over the lazy dog and explains rate limits to a patient crowd of parrots ";

export const keyOf = (index: number) =>
  `sk-bench-${String(index).padStart(4, "0")}-${"0123456789abcdef".repeat(2)}`;

function padded(make: (text: string) => object): string {
  const missing = BODY_BYTES - JSON.stringify(make("")).length;
  return JSON.stringify(make(WORDS.repeat(Math.ceil(missing / WORDS.length)).slice(0, missing)));
}

/** A chat completion call of `BODY_BYTES`. */
export function chatRequestBody(): string {
  return padded((text) => ({
    model: "gpt-4o-mini",
    messages: [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: text },
    ],
    max_tokens: 500,
    temperature: 0.7,
  }));
}

/** The provider's answer of `BODY_BYTES`, with its usage. */
export function chatAnswerBody(): string {
  return padded((text) => ({
    id: "chatcmpl-bench",
    object: "chat.completion",
    created: 1_760_000_000,
    model: "gpt-4o-mini-2024-07-18",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage: {
      prompt_tokens: 420,
      completion_tokens: 380,
      total_tokens: 800,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
    },
    service_tier: "default",
    system_fingerprint: "fp_bench",
  }));
}
