import { bandOf } from "../../src/core/estimate/output-group-tree.ts";
import type { RecordedCall } from "./simulate-holds.ts";

type Key = (call: RecordedCall) => string;

const byModel: Key = ({ group: { provider, model } }) => JSON.stringify([provider, model]);
const byGroup: Key = ({ group: { provider, model, effort, feature, plan } }) =>
  JSON.stringify([provider, model, effort, feature, plan]);
const byGroupAndInput: Key = (call) => `${byGroup(call)} ${bandOf(call.inputTokensEstimated)}`;

/** The output that would have covered a call's total. */
const neededOutput = ({ inputTokens, inputTokensEstimated, outputTokens }: RecordedCall) =>
  outputTokens + Math.max(0, inputTokens - inputTokensEstimated);

/** What the calls of each kind needed, from the least. */
class NeededByKind {
  readonly #keyOf: Key;
  readonly #kinds = new Map<string, number[]>();

  constructor(calls: readonly RecordedCall[], keyOf: Key) {
    this.#keyOf = keyOf;
    for (const call of calls) {
      const key = keyOf(call);
      const kind = this.#kinds.get(key);
      if (kind === undefined) this.#kinds.set(key, [neededOutput(call)]);
      else kind.push(neededOutput(call));
    }
    for (const kind of this.#kinds.values()) kind.sort((a, b) => a - b);
  }

  of(call: RecordedCall): readonly number[] {
    return this.#kinds.get(this.#keyOf(call)) ?? [];
  }
}

/** Held ÷ used of a policy, never above a call's own maximum. */
function heldShare(calls: readonly RecordedCall[], holdFor: (call: RecordedCall) => number): number {
  let held = 0;
  let used = 0;
  for (const call of calls) {
    held += call.inputTokensEstimated + Math.min(holdFor(call), call.outputTokensMax ?? LENGTH_ANY);
    used += call.inputTokens + call.outputTokens;
  }
  return held / used;
}

const LENGTH_ANY = Number.POSITIVE_INFINITY;

/** Of whoever knows every call in advance, but holds the same for all of a group, and covers so many of each. */
export function fixedHeldShare(calls: readonly RecordedCall[], coverage: number): number {
  const needed = new NeededByKind(calls, byGroup);
  return heldShare(calls, (call) => {
    const kind = needed.of(call);
    return kind[Math.ceil(coverage * kind.length) - 1];
  });
}

/**
 * Of whoever knows every other call, those to come as well, and holds what covers this one with the wanted probability if it is one of its kind like another:
 * of n − 1 others, the one in place coverage · n. Its kind is its group and length of input; where that has too few calls to say, its group, its model, all.
 */
export function informedHeldShare(calls: readonly RecordedCall[], coverage: number): number {
  const kinds = [byGroupAndInput, byGroup, byModel, () => ""].map((key) => new NeededByKind(calls, key));
  return heldShare(calls, (call) => {
    const own = neededOutput(call);
    for (const needed of kinds) {
      const kind = needed.of(call);
      const place = Math.ceil(coverage * kind.length);
      // Among the others, each one after this call is a place further down.
      if (place < kind.length) return own <= kind[place - 1] ? kind[place] : kind[place - 1];
    }
    return own;
  });
}
