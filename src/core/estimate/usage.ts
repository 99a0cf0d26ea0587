import type { InputShape } from "./input-shape.ts";

/** What a provider says that a call used, in model tokens: non-negative integers. */
export interface Usage {
  /** All input, cached input included, whatever the provider's own field counts. */
  readonly inputTokens: number;
  /** The part of `inputTokens` read from the provider's cache. */
  readonly cachedInputTokens: number;
  /** The part of `inputTokens` written to the provider's cache (Anthropic). */
  readonly cacheWriteInputTokens: number;
  /** All output, reasoning included. */
  readonly outputTokens: number;
  /** The part of `outputTokens` that is reasoning. */
  readonly reasoningTokens: number;
  /** Reasoning that the provider bills, and does not count among its output. Absent: none. */
  readonly reasoningApartTokens?: number;
  /** Audio that the provider bills, and does not count among its input. Absent: none. */
  readonly audioInputApartTokens?: number;
  /** The part of `cacheWriteInputTokens` that the cache keeps for longer than usual, at another price (Anthropic: one hour). Absent: none. */
  readonly cacheWriteLongInputTokens?: number;
  /** The part of `inputTokens` that is audio. Absent: none. */
  readonly audioInputTokens?: number;
  /** The part of `cachedInputTokens` that is audio. Absent: none. */
  readonly cachedAudioInputTokens?: number;
  /** The part of `outputTokens` that is audio. Absent: none. */
  readonly audioOutputTokens?: number;
  /** Searches that the provider made and bills. Absent: none. */
  readonly webSearches?: number;
  /** How the provider says that it has served the call, in its own word (`flex`, `priority`). Absent: it has said nothing. */
  readonly serviceTier?: string;
  /** The model that has answered, where it is not the one that was asked for. */
  readonly model?: string;
  /** What else the provider has run for the call, and does not count above: a summary of the context, another model's advice (Anthropic). Absent: nothing. */
  readonly apart?: readonly Usage[];
}

/** What a call is expected to use, before it is sent. */
export interface Estimate {
  readonly inputTokens: number;
  /** Calls of one shape are misestimated alike; absent where nothing is estimated. */
  readonly inputShape?: InputShape | undefined;
  /** The call's own maximum times the number of answers asked for; absent where it names none. */
  readonly outputTokensMax: number | undefined;
  /** How many answers are asked for. Absent: one. */
  readonly answers?: number | undefined;
  /** How hard the model is asked to think, as the caller names it. Absent: nothing was said. */
  readonly effort?: string | undefined;
  /** How the caller wants the call to be served, in the provider's own word. Absent: as usual. */
  readonly serviceTier?: string | undefined;
}
