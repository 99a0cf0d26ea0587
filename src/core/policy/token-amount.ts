import type { Usage } from "../estimate/usage.ts";
import type { LimitRule, TokenWeights } from "./policy.ts";

/** Weights are counted in thousandths, so that weighted sums are exact integers. */
export const WEIGHT_UNIT = 1_000;

/** Token counts beyond this are nonsense; below it, weighted sums (weights up to 1,000 in thousandths) stay exact in a double. */
export const TOKENS_MAX = 1_000_000_000;

/** Weights in thousandths: integers. */
export interface CompiledWeights {
  readonly input: number;
  readonly cachedInput: number;
  readonly output: number;
}

export const compileWeights = (weights: TokenWeights): CompiledWeights => ({
  input: Math.round(weights.input * WEIGHT_UNIT),
  cachedInput: Math.round(weights.cachedInput * WEIGHT_UNIT),
  output: Math.round(weights.output * WEIGHT_UNIT),
});

/** Model tokens of a call, expected or used; `cachedInputTokens` is a part of `inputTokens`. */
export interface TokenCounts {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}

/** An integer in [0, TOKENS_MAX]. */
export const boundedTokens = (tokens: number): number =>
  tokens > 0 ? Math.min(TOKENS_MAX, Math.ceil(tokens)) : 0;

/** What a call has used, what was run apart from it included. */
export function tokensUsed(usage: Usage | undefined): TokenCounts {
  let [inputTokens, cachedInputTokens, outputTokens] = [0, 0, 0];
  if (usage === undefined) return { inputTokens, cachedInputTokens, outputTokens };
  for (const part of usage.apart === undefined ? [usage] : [usage, ...usage.apart]) {
    inputTokens += part.inputTokens;
    cachedInputTokens += part.cachedInputTokens;
    outputTokens += part.outputTokens;
  }
  return {
    inputTokens: boundedTokens(inputTokens),
    cachedInputTokens: boundedTokens(cachedInputTokens),
    outputTokens: boundedTokens(outputTokens),
  };
}

/** What the meter `tokens` counts: the weighted sum, rounded up. Counts are integers in [0, TOKENS_MAX]. */
export function weightedTokens(weights: CompiledWeights, counts: TokenCounts): number {
  const fresh = Math.max(0, counts.inputTokens - counts.cachedInputTokens);
  const sum =
    fresh * weights.input +
    Math.min(counts.inputTokens, counts.cachedInputTokens) * weights.cachedInput +
    counts.outputTokens * weights.output;
  return Math.ceil(sum / WEIGHT_UNIT);
}

/** The most output that still fits a limit of `capacity` beside the input; `Infinity` where the meter does not count output. */
export function outputRoom(
  meter: LimitRule["meter"],
  capacity: number,
  weights: CompiledWeights,
  inputTokens: number,
): number {
  if (meter === "output_tokens") return capacity;
  if (meter !== "tokens" || weights.output === 0) return Number.POSITIVE_INFINITY;
  const room = Math.floor((capacity * WEIGHT_UNIT - inputTokens * weights.input) / weights.output);
  return Math.max(0, room);
}
