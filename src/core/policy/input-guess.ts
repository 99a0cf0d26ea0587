import type { ModelPrice } from "../price/model-price.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { GUESS_SHARE, heldPrice } from "./output-guess.ts";
import { amountOf } from "./rule-amount.ts";

/**
 * What calls like this one have used never makes it too large for a limit that what is read in its body fits (E5): whoever is under such a limit cannot have made
 * them. Then it is cut to a share of the limit, or to what is read. `learned` and `read` are model tokens.
 */
export function guessedInput(
  rules: readonly CompiledRule[],
  learned: number,
  read: number,
  price: ModelPrice | undefined,
): number {
  let input = learned;
  for (const compiled of rules) {
    if (input <= read) return input;
    const { rule, capacity } = compiled;
    if (rule.mode === "shadow" || rule.reserve === "none") continue;
    const held = heldPrice(compiled, price);
    const amount = (inputTokens: number) => {
      const counts = { inputTokens, cachedInputTokens: 0, outputTokens: 0 };
      return amountOf(compiled, counts, counts, held);
    };
    const whole = amount(input);
    if (whole <= capacity || amount(read) > capacity) continue;
    const share = Math.floor((input * (capacity / GUESS_SHARE)) / whole);
    input = share > read && amount(share) <= capacity ? share : read;
  }
  return input;
}
