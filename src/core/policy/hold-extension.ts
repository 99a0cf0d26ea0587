import type { Charge, SubjectCharges } from "../limits/combine.ts";
import type { LimitReading } from "../limits/limit-spec.ts";
import { outputCostOf } from "../price/cost.ts";
import type { ModelPrice } from "../price/model-price.ts";
import type { CallCharges } from "./charges.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { heldPrice } from "./output-guess.ts";
import type { LimitRule } from "./policy.ts";
import { amountOf } from "./rule-amount.ts";
import { boundedTokens } from "./token-amount.ts";

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

/** How much output a call is reckoned with, in model tokens: before an extension, and with it. */
export interface OutputGrowth {
  readonly from: number;
  readonly to: number;
}

/** What is held for output beyond what has been: neither the input nor the call itself is paid for again. */
function extensionOf(
  compiled: CompiledRule,
  outputTokens: number,
  inputTokens: number,
  price: ModelPrice | undefined,
): number {
  const held = heldPrice(compiled, price);
  if (compiled.rule.meter === "cost" && held !== undefined)
    return outputCostOf(held, inputTokens, outputTokens);
  const counts = { inputTokens: 0, cachedInputTokens: 0, outputTokens };
  return amountOf(compiled, counts, counts, held);
}

/** Whether a limit holds nothing of a call, and yet is to end its stream when that has used it up. */
const watches = ({ rule }: CompiledRule) =>
  rule.reserve === "none" && rule.onExhausted === "cut" && rule.mode === "enforce";

/**
 * From how much output on a call's limits want to be asked: from what is held; from the first word on where a limit that holds nothing watches the
 * stream.
 */
export const outputBefore = ({ compiled, outputTokensHeld }: CallCharges): number =>
  compiled.some(watches) ? 0 : outputTokensHeld;

/**
 * What a stream that goes on holds on top, for `LimitStore.extend`: the same subjects and limits, more output on every limit that does not hold the most
 * already. A limit that is charged after the call holds nothing; where it may cut, all that the call will have used must fit. In money, the output has
 * the price that it has behind `inputTokens`: what the provider has said of the input, or what was estimated.
 */
export function extensionFor(
  charges: CallCharges,
  { from, to }: OutputGrowth,
  inputTokens = charges.inputTokens,
): readonly SubjectCharges[] {
  const more = boundedTokens(to - Math.max(from, Math.min(to, charges.outputTokensHeld)));
  const all = { inputTokens, cachedInputTokens: 0, outputTokens: boundedTokens(to) };
  let next = 0;
  return charges.subjects.map(({ key, charges: held }) => ({
    key,
    charges: held.map(({ spec }): Charge => {
      const compiled = charges.compiled[next++];
      if (watches(compiled)) {
        return { spec, hold: 0, need: Math.max(1, amountOf(compiled, all, all, charges.price)) };
      }
      const hold = holdGrows(compiled, charges) ? extensionOf(compiled, more, inputTokens, charges.price) : 0;
      return { spec, hold, need: hold };
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
