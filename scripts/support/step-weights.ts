import { TEXT_CLASS, TEXT_CLASS_BITS, type TextClassName } from "../../src/core/estimate/text-classes.ts";
import { runAfter, TEXT_STATES, TEXT_STEPS, type TextState } from "../../src/core/estimate/text-states.ts";
import type { TextWeights } from "../../src/core/estimate/text-tokens.ts";
import { type TokenFamily, textWeightsOf } from "../../src/core/estimate/token-family.ts";

const ASCII: ReadonlySet<string> = new Set(["space", "newline", "lower", "upper", "digit", "punctuation"]);

/** Steps of a text scan that share a weight, as `textWeights` fills the table. */
interface StepWeight {
  readonly name: string;
  readonly kind: "ascii" | "code" | "other";
  readonly steps: readonly number[];
}

function weightOf(state: TextState, name: TextClassName): Omit<StepWeight, "steps"> {
  if (!ASCII.has(name)) return { name, kind: "other" };
  const { previous } = state;
  if (previous === undefined) return { name: `${name} after start`, kind: "ascii" };
  if (runAfter(state, name) === "code") return { name: `${name} after ${previous}, code`, kind: "code" };
  return { name: `${name} after ${ASCII.has(previous) ? previous : "lower"}`, kind: "ascii" };
}

function stepWeights(): readonly StepWeight[] {
  const weights = new Map<string, StepWeight & { readonly steps: number[] }>();
  for (const [number, state] of TEXT_STATES.entries()) {
    for (const [name, cls] of Object.entries(TEXT_CLASS) as [TextClassName, number][]) {
      const weight = weightOf(state, name);
      const known = weights.get(weight.name) ?? { ...weight, steps: [] };
      known.steps.push((number << TEXT_CLASS_BITS) | cls);
      weights.set(weight.name, known);
    }
  }
  return [...weights.values()];
}

export const STEP_WEIGHTS: readonly StepWeight[] = stepWeights();

export const todaysWeights = (family: TokenFamily): Float64Array =>
  Float64Array.from(STEP_WEIGHTS, ({ steps }) => textWeightsOf(family).steps[steps[0] as number] as number);

const indicator = (of: readonly number[]): TextWeights => {
  const steps = new Float64Array(TEXT_STEPS);
  for (const step of of) steps[step] = 1;
  return { steps };
};
const INDICATORS = STEP_WEIGHTS.map(({ steps }) => indicator(steps));
const NOTHING = indicator([]);

/** How often each weight counts in what `count` counts, and what counts without any. */
export function weightCounts(count: (weights: TextWeights) => number): {
  readonly counts: Float64Array;
  readonly frames: number;
} {
  const frames = count(NOTHING);
  return { frames, counts: Float64Array.from(INDICATORS, (one) => count(one) - frames) };
}
