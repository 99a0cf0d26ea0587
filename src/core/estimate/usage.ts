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
}

/** What a call is expected to use, before it is sent. */
export interface Estimate {
  readonly inputTokens: number;
  /** The call's own maximum times the number of answers asked for; absent where it names none. */
  readonly outputTokensMax: number | undefined;
}
