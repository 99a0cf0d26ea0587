// Fits the weights of the text scan anew on recorded calls, and says whether they are better than today's on repositories that the fit has not seen.
// Prints weights only where they are; nothing is written. The same data gives the same answer:
//   node scripts/fit-input-weights.ts
import { createHash } from "node:crypto";
import {
  collectionRows,
  isHeldOut,
  type RecordedUsage,
  recordedUsage,
} from "../bench/support/recorded-usage.ts";
import { InputTokenCounter } from "../src/core/estimate/input-shape.ts";
import { TEXT_CLASS, TEXT_CLASS_BITS } from "../src/core/estimate/text-classes.ts";
import { TextTokenCounter, type TextWeights } from "../src/core/estimate/text-tokens.ts";
import { type TokenFamily, textWeightsOf, tokenFamilyOf } from "../src/core/estimate/token-family.ts";
import { addInputTokens as addAnthropicInput } from "../src/providers/anthropic/input-tokens.ts";
import { addInputTokens as addOpenaiInput } from "../src/providers/openai/input-tokens.ts";

const FAMILIES: readonly TokenFamily[] = ["o200k", "claude_3", "claude_4_7"];
/** How strongly weights are held at today's: each is tried, by cross-validation inside the fitted part. */
const RIDGES = [0.03, 0.3, 3, 30, 300];
const FOLDS = 4;
/** A ridge that holds a weight where it is. */
const FIXED = 1e9;
/** Relative errors beyond it count as their root only: frames and pictures that were told wrongly, not weights. */
const HUBER_ERROR = 0.1;
const ROUNDS = 8;
/** A better median by less is the luck of the split. */
const IMPROVEMENT_MIN = 0.05;

const ASCII = ["space", "newline", "lower", "upper", "digit", "punctuation"] as const;
const CLASSES = 1 << TEXT_CLASS_BITS;

/** Groups of the pair table that share a weight, as `textWeights` fills it. */
const WEIGHTS: readonly { readonly name: string; readonly pairs: readonly number[] }[] = [
  ...ASCII.flatMap((name) =>
    [...ASCII, "start"].map((previous) => ({
      name: `${name} after ${previous}`,
      pairs: previousClasses(previous).map((cls) => (cls << TEXT_CLASS_BITS) | TEXT_CLASS[name]),
    })),
  ),
  ...Object.entries(TEXT_CLASS)
    .filter(([name]) => !ASCII.includes(name as (typeof ASCII)[number]))
    .map(([name, cls]) => ({
      name,
      pairs: Array.from({ length: CLASSES }, (_, previous) => (previous << TEXT_CLASS_BITS) | cls),
    })),
];

/** From here on in `WEIGHTS`. */
const OTHER_SCRIPTS = ASCII.length * (ASCII.length + 1);

function previousClasses(previous: string): readonly number[] {
  if (previous === "start") return [CLASSES - 1];
  if (previous !== "lower") return [TEXT_CLASS[previous as keyof typeof TEXT_CLASS]];
  const others = Array.from({ length: CLASSES - 1 }, (_, cls) => cls).filter((cls) => cls >= ASCII.length);
  return [TEXT_CLASS.lower, ...others];
}

/** A text or a call: how often each weight counts in it, the tokens of its frames, and what it really has. */
interface Sample {
  readonly repository: string;
  readonly counts: Float64Array;
  readonly frames: number;
  readonly actual: number;
}

const indicator = (pairs: readonly number[]): TextWeights => {
  const table = new Float64Array(CLASSES * CLASSES);
  for (const pair of pairs) table[pair] = 1;
  return { pairs: table };
};
const INDICATORS = WEIGHTS.map(({ pairs }) => indicator(pairs));
const NOTHING = indicator([]);

function sampleOf(repository: string, actual: number, count: (weights: TextWeights) => number): Sample {
  const frames = count(NOTHING);
  return { repository, actual, frames, counts: Float64Array.from(INDICATORS, (one) => count(one) - frames) };
}

/** Whether a body holds what the model reads, and nothing but text: all else is not for the weights to explain. */
function isTold({ format, endpoint, body }: RecordedUsage): boolean {
  const shape = format.parseCall(endpoint, Buffer.from(JSON.stringify(body))).estimate.inputShape;
  return shape !== undefined && /\/(text|tools)$/.test(shape);
}

function callSample({ format, endpoint, body, repository, inputTokens }: RecordedUsage): Sample {
  return sampleOf(repository, inputTokens, (weights) => {
    const counter = new InputTokenCounter(weights);
    if (format.name === "anthropic") addAnthropicInput(counter, body);
    else addOpenaiInput(counter, endpoint, body);
    return counter.tokens;
  });
}

/** Anthropic's own counts of texts: one user message, 7 or 8 tokens of frame. A language is what a repository is to calls. */
const TEXT_FRAME = 7;
const LANGUAGE = "language ";

function textSamples(family: TokenFamily): readonly Sample[] {
  if (family === "o200k") return [];
  return collectionRows("claude_token_counts.jsonl").flatMap((row) => {
    const counts = row.claude as Readonly<Record<string, unknown>> | undefined;
    const actual = counts?.[family === "claude_3" ? "v3" : "v4.7"];
    if (typeof actual !== "number" || typeof row.text !== "string") return [];
    const text = row.text;
    return sampleOf(`${LANGUAGE}${String(row.lang)}`, actual, (weights) => {
      const counter = new TextTokenCounter(weights);
      counter.addTokens(TEXT_FRAME);
      counter.addText(text);
      return counter.tokens;
    });
  });
}

const today = (family: TokenFamily): Float64Array =>
  Float64Array.from(WEIGHTS, ({ pairs }) => textWeightsOf(family).pairs[pairs[0] as number] as number);

function tokensOf({ counts, frames }: Sample, weights: Float64Array): number {
  let tokens = frames;
  for (let index = 0; index < weights.length; index++) {
    tokens += (counts[index] as number) * (weights[index] as number);
  }
  return tokens;
}

/** Solves a positive definite system by elimination, in place. */
function solve(rows: readonly Float64Array[], right: Float64Array): Float64Array {
  const size = right.length;
  for (let pivot = 0; pivot < size; pivot++) {
    for (let row = pivot + 1; row < size; row++) {
      const factor = rows[row]![pivot]! / rows[pivot]![pivot]!;
      if (factor === 0) continue;
      for (let column = pivot; column < size; column++) rows[row]![column]! -= factor * rows[pivot]![column]!;
      right[row]! -= factor * right[pivot]!;
    }
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let column = row + 1; column < size; column++) right[row]! -= rows[row]![column]! * right[column]!;
    right[row]! /= rows[row]![row]!;
  }
  return right;
}

/** Least relative errors with Huber's weights, held at today's weights by `ridge`. */
function fit(
  samples: readonly Sample[],
  start: Float64Array,
  isFree: (index: number) => boolean,
  ridge: number,
): Float64Array {
  let weights = start;
  for (let round = 0; round < ROUNDS; round++) {
    const size = start.length;
    const rows = Array.from({ length: size }, () => new Float64Array(size));
    const right = new Float64Array(size);
    for (const sample of samples) {
      const { counts, frames, actual } = sample;
      const error = Math.abs(tokensOf(sample, weights) / actual - 1);
      const weight = (error <= HUBER_ERROR ? 1 : HUBER_ERROR / error) / actual ** 2;
      for (let row = 0; row < size; row++) {
        const count = counts[row]! * weight;
        if (count === 0) continue;
        for (let column = 0; column < size; column++) rows[row]![column]! += count * counts[column]!;
        right[row]! += count * (actual - frames);
      }
    }
    for (let index = 0; index < size; index++) {
      // A share of a weight, rather than an amount: small weights stand at frequent pairs.
      const hold = (isFree(index) ? ridge : FIXED) / Math.max(0.05, start[index]!) ** 2;
      rows[index]![index]! += hold;
      right[index]! += hold * start[index]!;
    }
    weights = solve(rows, right).map((one) => Math.max(0, one));
  }
  return weights;
}

function medianError(samples: readonly Sample[], weights: Float64Array): number {
  const errors = samples
    .map((sample) => Math.abs(tokensOf(sample, weights) / sample.actual - 1))
    .sort((a, b) => a - b);
  return errors[errors.length >> 1] ?? Number.NaN;
}

const byteOf = (text: string, at: number) => createHash("sha256").update(text).digest()[at] as number;
const isOut = ({ repository }: Sample) => isHeldOut(repository);

/** The ridge with which folds of the fitted part, whole repositories, foretell each other best. */
function bestRidge(
  samples: readonly Sample[],
  start: Float64Array,
  isFree: (index: number) => boolean,
): number {
  const errorOf = (ridge: number) => {
    const folds = Array.from({ length: FOLDS }, (_, fold) => {
      const isIn = ({ repository }: Sample) => byteOf(repository, 1) % FOLDS === fold;
      const others = samples.filter((sample) => !isIn(sample));
      const own = samples.filter(isIn);
      return own.length === 0 || others.length === 0
        ? 0
        : medianError(own, fit(others, start, isFree, ridge)) * own.length;
    });
    return folds.reduce((sum, one) => sum + one, 0);
  };
  return RIDGES.reduce((best, ridge) => (errorOf(ridge) < errorOf(best) ? ridge : best));
}

const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
const isText = ({ repository }: Sample) => repository.startsWith(LANGUAGE);

/** What is fitted on what: all weights on calls, or those of other scripts, which calls have little of, on texts and calls. */
const VARIANTS = [
  { name: "all weights, on calls", isFree: () => true, isUsed: (sample: Sample) => !isText(sample) },
  {
    name: "weights of other scripts, on texts too",
    isFree: (index: number) => index >= OTHER_SCRIPTS,
    isUsed: () => true,
  },
] as const;

const calls = recordedUsage("usage_pairs.jsonl").filter(isTold);
for (const family of FAMILIES) {
  const own = calls.filter(({ model, provider }) =>
    family === "o200k" ? provider === "openai" : provider === "anthropic" && tokenFamilyOf(model) === family,
  );
  const samples = [...own.map(callSample), ...textSamples(family)];
  const start = today(family);
  for (const { name, isFree, isUsed } of VARIANTS) {
    const fitted = samples.filter((sample) => !isOut(sample) && isUsed(sample));
    const ridge = bestRidge(fitted, start, isFree);
    const weights = fit(fitted, start, isFree, ridge);
    console.log(`${family}, ${name}: ${fitted.length} samples, ridge ${ridge}`);
    const changes = [true, false].flatMap((ofTexts) => {
      const out = samples.filter((sample) => isOut(sample) && isText(sample) === ofTexts);
      if (out.length === 0) return [];
      const before = medianError(out, start);
      const after = medianError(out, weights);
      console.log(
        `  ${out.length} held-out ${ofTexts ? "texts" : "calls"}: median error ${percent(before)} -> ${percent(after)}`,
      );
      return after / before - 1;
    });
    const isBetter = Math.max(...changes) <= 0 && Math.min(...changes) <= -IMPROVEMENT_MIN;
    console.log(isBetter ? "  better on what was held out:" : "  today's weights stay");
    if (!isBetter) continue;
    for (const [index, { name }] of WEIGHTS.entries()) {
      if (isFree(index))
        console.log(`    ${name.padEnd(30)} ${start[index]!.toFixed(3)} -> ${weights[index]!.toFixed(3)}`);
    }
  }
}
