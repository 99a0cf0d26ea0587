import { bandOf } from "../../src/core/estimate/output-group-tree.ts";
import type { OutputGroup } from "../../src/core/estimate/output-quantile.ts";
import type { RecordedCall } from "./simulate-holds.ts";

/** What calls share whose hold is the same. */
export type HoldKey = (call: RecordedCall) => string;

export const byGroup: HoldKey = ({ group }) => {
  const { provider, model, effort, feature, plan }: OutputGroup = group;
  return JSON.stringify([provider, model, effort, feature, plan]);
};

export const byGroupAndInput: HoldKey = (call) => `${byGroup(call)} ${bandOf(call.inputTokensEstimated)}`;

/** The output that would have covered a call's total. */
const neededOutput = ({ inputTokens, inputTokensEstimated, outputTokens }: RecordedCall) =>
  outputTokens + Math.max(0, inputTokens - inputTokensEstimated);

/**
 * Held ÷ used of whoever knows every call in advance, but must hold the same for all of a kind, and cover so many of each: the quantile of what was needed,
 * or the call's own maximum where that is less. What is above that is what learning costs; below it come only those who know more of a call, or cover
 * one kind less than another. Kinds of few calls flatter it: of ten calls, the hold is one of theirs.
 */
export function bestFixedHeldShare(calls: readonly RecordedCall[], coverage: number, keyOf: HoldKey): number {
  const kinds = new Map<string, RecordedCall[]>();
  for (const call of calls) {
    const key = keyOf(call);
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, [call]);
    else kind.push(call);
  }
  let held = 0;
  let used = 0;
  for (const kind of kinds.values()) {
    const needed = kind.map(neededOutput).sort((a, b) => a - b);
    const hold = needed[Math.ceil(coverage * needed.length) - 1];
    for (const { inputTokensEstimated, inputTokens, outputTokens, outputTokensMax } of kind) {
      held += inputTokensEstimated + Math.min(hold, outputTokensMax ?? hold);
      used += inputTokens + outputTokens;
    }
  }
  return held / used;
}
