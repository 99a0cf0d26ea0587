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
import { TextTokenCounter, type TextWeights } from "../src/core/estimate/text-tokens.ts";
import { type TokenFamily, tokenFamilyOf } from "../src/core/estimate/token-family.ts";
import { addInputTokens as addAnthropicInput } from "../src/providers/anthropic/input-tokens.ts";
import { addInputTokens as addOpenaiInput } from "../src/providers/openai/input-tokens.ts";
import { fit, type Sample, tokensOf } from "./support/huber-fit.ts";
import { STEP_WEIGHTS, todaysWeights, weightCounts } from "./support/step-weights.ts";

const FAMILIES: readonly TokenFamily[] = ["o200k", "claude_3", "claude_4_7"];
/** How strongly weights are held at today's: each is tried, by cross-validation inside the fitted part. */
const RIDGES = [0.03, 0.3, 3, 30, 300];
const FOLDS = 4;
/** A better median by less is the luck of the split. */
const IMPROVEMENT_MIN = 0.05;

/** A call or a text of the collection. */
interface RecordedSample extends Sample {
  readonly repository: string;
}

function sampleOf(
  repository: string,
  actual: number,
  count: (weights: TextWeights) => number,
): RecordedSample {
  return { repository, actual, ...weightCounts(count) };
}

/** Whether a body holds what the model reads, and nothing but text: all else is not for the weights to explain. */
function isTold({ format, endpoint, body }: RecordedUsage): boolean {
  const shape = format.parseCall(endpoint, Buffer.from(JSON.stringify(body))).estimate.inputShape;
  return shape !== undefined && /\/(text|tools)$/.test(shape);
}

function callSample({ format, endpoint, body, repository, inputTokens }: RecordedUsage): RecordedSample {
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

function textSamples(family: TokenFamily): readonly RecordedSample[] {
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

function medianError(samples: readonly Sample[], weights: Float64Array): number {
  const errors = samples
    .map((sample) => Math.abs(tokensOf(sample, weights) / sample.actual - 1))
    .sort((a, b) => a - b);
  return errors[errors.length >> 1] ?? Number.NaN;
}

const byteOf = (text: string, at: number) => createHash("sha256").update(text).digest()[at] as number;
const isOut = ({ repository }: RecordedSample) => isHeldOut(repository);

/** The ridge with which folds of the fitted part, whole repositories, foretell each other best. */
function bestRidge(
  samples: readonly RecordedSample[],
  start: Float64Array,
  isFree: (index: number) => boolean,
): number {
  const errorOf = (ridge: number) => {
    const folds = Array.from({ length: FOLDS }, (_, fold) => {
      const isIn = ({ repository }: RecordedSample) => byteOf(repository, 1) % FOLDS === fold;
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
const isText = ({ repository }: RecordedSample) => repository.startsWith(LANGUAGE);

/**
 * What is fitted on what: all weights on calls, or those of other scripts, which calls have little of, on texts and calls. Of runs that are code both have too
 * little: see `fit-code-weights.ts`.
 */
const VARIANTS = [
  {
    name: "all weights, on calls",
    isFree: (index: number) => STEP_WEIGHTS[index]?.kind !== "code",
    isUsed: (sample: RecordedSample) => !isText(sample),
  },
  {
    name: "weights of other scripts, on texts too",
    isFree: (index: number) => STEP_WEIGHTS[index]?.kind === "other",
    isUsed: () => true,
  },
] as const;

const calls = recordedUsage("usage_pairs.jsonl").filter(isTold);
for (const family of FAMILIES) {
  const own = calls.filter(({ model, provider }) =>
    family === "o200k" ? provider === "openai" : provider === "anthropic" && tokenFamilyOf(model) === family,
  );
  const samples = [...own.map(callSample), ...textSamples(family)];
  const start = todaysWeights(family);
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
    for (const [index, { name }] of STEP_WEIGHTS.entries()) {
      if (isFree(index))
        console.log(`    ${name.padEnd(30)} ${start[index]!.toFixed(3)} -> ${weights[index]!.toFixed(3)}`);
    }
  }
}
