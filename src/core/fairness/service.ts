/**
 * What a model token counts in the order of service: what comes out is written one at a time, what goes in is read together. The weights of Sheng et al.
 * (OSDI 2024); what a provider's cache had read before is half the work.
 */
const INPUT_WEIGHT = 1;
const CACHED_INPUT_WEIGHT = 0.5;
const OUTPUT_WEIGHT = 2;

/** How much of others' turns a call takes, in weighted model tokens: a whole number, at least 1. `cachedInputTokens` are part of `inputTokens`. */
export function serviceOf(counts: {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}): number {
  const fresh = Math.max(0, counts.inputTokens - counts.cachedInputTokens);
  const weighted =
    INPUT_WEIGHT * fresh +
    CACHED_INPUT_WEIGHT * counts.cachedInputTokens +
    OUTPUT_WEIGHT * counts.outputTokens;
  return Math.max(1, Math.ceil(weighted));
}
