import { costOf, outputRoomFor } from "../price/cost.ts";
import { type ModelPrice, worstPrice } from "../price/model-price.ts";
import { dearestTier } from "../price/service-tier.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { outputRoom } from "./token-amount.ts";

/** What a rule holds by: with `worst_case`, a call of which only the size is known is of the dearest kind, in the dearest tier. */
export const heldPrice = ({ rule }: CompiledRule, price: ModelPrice | undefined): ModelPrice | undefined =>
  price !== undefined && rule.reserve === "worst_case" ? worstPrice(dearestTier(price)) : price;

/**
 * Of a limit that a call of which nothing is known may take with its output. A tenth leaves room for ten such calls: were a guess as large as
 * the limit, the first call would be admitted and the second refused, however little the first really used.
 */
export const GUESS_SHARE = 10;

/** Whether, and how far, output beside the input fits an amount of the rule's meter: `guess` or more where that does, else the most that does. */
export function roomFor(
  { rule, weights }: CompiledRule,
  amount: number,
  inputTokens: number,
  guess: number,
  price: ModelPrice | undefined,
): number {
  if (rule.meter !== "cost") return outputRoom(rule.meter, amount, weights, inputTokens);
  // The exact room takes longer than asking whether the guess fits, which it nearly always does.
  if (price === undefined || costOf(price, { inputTokens, outputTokens: guess }) <= amount) return guess;
  return outputRoomFor(price, amount, inputTokens);
}

/**
 * A guess at the output never makes a call too large for a limit that its input fits (E5): it is cut to what the tightest enforced limit can
 * hold beside the input, and to a share of that limit where it is no knowledge of calls like this one (`isOwn`): the configured default, or what others write.
 */
export function guessedOutput(
  rules: readonly CompiledRule[],
  guess: number,
  isOwn: boolean,
  inputTokens: number,
  price: ModelPrice | undefined,
): number {
  let output = guess;
  for (const compiled of rules) {
    const { rule, capacity } = compiled;
    if (rule.mode === "shadow" || rule.reserve === "none") continue;
    const held = heldPrice(compiled, price);
    const room = roomFor(compiled, capacity, inputTokens, output, held);
    if (room < output) output = room;
    if (isOwn) continue;
    // At least one: a hold of nothing would be no hold.
    const share = Math.max(1, roomFor(compiled, Math.floor(capacity / GUESS_SHARE), 0, output, held));
    if (share < output) output = share;
  }
  return output;
}
