// Fits the weights of runs that are code (base64, hexadecimal numbers, identifiers) on generated texts, with gpt-tokenizer as the oracle: recorded calls hold too
// little of them. Prints the weights, and how far they and today's are off on texts of other seeds; writes what those texts really have, for the tests.
//   node scripts/fit-code-weights.ts
import { writeFileSync } from "node:fs";
import { gptTokenizer, installPeers } from "../bench/support/peers.ts";
import { TextTokenCounter, type TextWeights } from "../src/core/estimate/text-tokens.ts";
import { CODE_TEXT_KINDS, codeText, promptWithCode } from "../test/support/code-texts.ts";
import { fit, type Sample, tokensOf } from "./support/huber-fit.ts";
import { STEP_WEIGHTS, todaysWeights, weightCounts } from "./support/step-weights.ts";

const COUNTS = new URL("../test/fixtures/code-text-tokens.json", import.meta.url);
/** Texts of the tests have seed 0. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const FITTED_CHARS = [100, 300, 1_000, 4_000];
const TESTED_CHARS = [100, 1_000, 10_000, 200_000];
/** Light: one kind more or less must not turn a weight that hardly counts. */
const RIDGE = 0.01;

installPeers((message) => process.stderr.write(`${message}\n`));
const count = { o200k: gptTokenizer("o200k_base"), cl100k: gptTokenizer("cl100k_base") };

function sampleOf(text: string): Sample {
  const counts = weightCounts((weights: TextWeights) => {
    const counter = new TextTokenCounter(weights);
    counter.addText(text);
    return counter.tokens;
  });
  return { ...counts, actual: count.o200k(text) };
}

const samples = CODE_TEXT_KINDS.flatMap((kind) =>
  FITTED_CHARS.flatMap((chars) => SEEDS.map((seed) => sampleOf(codeText(kind, chars, seed)))),
);
const start = todaysWeights("o200k");
const weights = fit(samples, start, (index) => STEP_WEIGHTS[index]?.kind === "code", RIDGE);
for (const [index, { name, kind }] of STEP_WEIGHTS.entries()) {
  if (kind === "code")
    console.log(`${name.padEnd(36)} ${start[index]?.toFixed(3)} -> ${weights[index]?.toFixed(3)}`);
}

const percentOff = (sample: Sample, by: Float64Array) =>
  `${((tokensOf(sample, by) / sample.actual - 1) * 100).toFixed(1)} %`.padStart(8);
const counts: Record<string, object> = {};
for (const kind of CODE_TEXT_KINDS) {
  const texts = [
    ...TESTED_CHARS.map((chars) => [`${chars}`, codeText(kind, chars, 0)] as const),
    ["in a prompt of 10000", promptWithCode(kind, 10_000, 0)] as const,
  ];
  counts[kind] = Object.fromEntries(
    texts.map(([name, text]) => [name, { o200k: count.o200k(text), cl100k: count.cl100k(text) }]),
  );
  const tested = sampleOf(codeText(kind, 10_000, 0));
  console.log(`${kind.padEnd(24)} ${percentOff(tested, start)} -> ${percentOff(tested, weights)}`);
}
writeFileSync(COUNTS, `${JSON.stringify(counts, undefined, 1)}\n`);
