import type { Charge, SubjectCharges } from "../limits/combine.ts";
import type { LimitReading } from "../limits/limit-spec.ts";
import { outputCostOf } from "../price/cost.ts";
import type { ModelPrice } from "../price/model-price.ts";
import { amountOf, type CallCharges } from "./charges.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { heldPrice } from "./output-guess.ts";
import type { LimitRule } from "./policy.ts";
import { boundedTokens, type TokenCounts } from "./token-amount.ts";

/** Whether a limit's hold has to grow with the output: not where the most that there can be is held already, or nothing ever is. */
function holdGrows({ rule }: CompiledRule, charges: CallCharges): boolean {
  if (rule.reserve === "none" || (rule.reserve === "worst_case" && charges.outputTokensMax !== undefined)) {
    return false;
  }
  switch (rule.meter) {
    case "requests":
    case "concurrency":
    case "input_tokens":
      return false;
    case "output_tokens":
    case "tokens":
    case "cost":
      return true;
  }
}

function extensionOf(
  compiled: CompiledRule,
  counts: TokenCounts,
  inputTokens: number,
  price: ModelPrice | undefined,
): number {
  const held = heldPrice(compiled, price);
  // Neither the input nor the call itself is paid for again.
  if (compiled.rule.meter === "cost" && held !== undefined) {
    return outputCostOf(held, inputTokens, counts.outputTokens);
  }
  return amountOf(compiled, counts, counts, held);
}

/**
 * What a stream that outgrows its hold holds on top, for `LimitStore.extend`: the same subjects and limits, `outputTokens` more on every limit that
 * does not hold the most already. A limit that is charged after the call holds nothing, but is looked at where it may cut. In money, the output has the
 * price that it has behind `inputTokens`: what the provider has said of the input, or what was estimated.
 */
export function extensionFor(
  charges: CallCharges,
  outputTokens: number,
  inputTokens = charges.inputTokens,
): readonly SubjectCharges[] {
  const counts = { inputTokens: 0, cachedInputTokens: 0, outputTokens: boundedTokens(outputTokens) };
  let next = 0;
  return charges.subjects.map(({ key, charges: held }) => ({
    key,
    charges: held.map(({ spec }): Charge => {
      const compiled = charges.compiled[next++];
      const hold = holdGrows(compiled, charges)
        ? extensionOf(compiled, counts, inputTokens, charges.price)
        : 0;
      const isWatched = compiled.rule.reserve === "none" && compiled.rule.onExhausted === "cut";
      return { spec, hold, need: isWatched ? 1 : hold };
    }),
  }));
}

/**
 * The limit that ends a stream whose extension was refused: the first enforced one with `on_exhausted: cut` in which the extension does not fit.
 * Undefined where every limit that is used up says `continue`: then the same step is forced, and the excess is debt. `readings` are the refusal's.
 */
export function cuttingRule(
  charges: CallCharges,
  extension: readonly SubjectCharges[],
  readings: readonly LimitReading[],
): LimitRule | undefined {
  const needs = extension.flatMap((subject) => subject.charges.map(({ need }) => need));
  return charges.rules.find(
    ({ mode, onExhausted }, i) =>
      mode === "enforce" && onExhausted === "cut" && needs[i] > 0 && readings[i].remaining < needs[i],
  );
}
