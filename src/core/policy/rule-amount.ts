import { type BilledUsage, costOf } from "../price/cost.ts";
import type { ModelPrice } from "../price/model-price.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { type TokenCounts, weightedTokens } from "./token-amount.ts";

/** What one limit counts. `billed` is what the meter cost goes by. */
export function amountOf(
  compiled: CompiledRule,
  counts: TokenCounts,
  billed: BilledUsage,
  price: ModelPrice | undefined,
): number {
  switch (compiled.rule.meter) {
    case "requests":
    case "concurrency":
      return 1;
    case "input_tokens":
      return counts.inputTokens;
    case "output_tokens":
      return counts.outputTokens;
    case "tokens":
      return weightedTokens(compiled.weights, counts);
    case "cost":
      return price === undefined ? 0 : costOf(price, billed);
  }
}
