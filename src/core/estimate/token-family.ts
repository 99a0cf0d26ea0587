import { type TextWeights, type TextWeightsSpec, textWeights } from "./text-tokens.ts";

/** Tokenizers that differ enough to matter. `o200k` stands for every tokenizer of its generation (and for models nobody knows). */
export type TokenFamily = "o200k" | "claude_3" | "claude_4_7";

/**
 * Least-squares fit of o200k's own counts on 2,896 texts of recorded calls and answers and 22 files of code: each such text within
 * 7 % for half of them and within 11 % for nine in ten, their sum within 0.5 %. Other scripts: the universal declaration of human
 * rights in the languages most written in them.
 *
 * Runs that are code are one character in a hundred of the recorded calls: too little. So `scripts/fit-code-weights.ts` fits them on generated base64,
 * hexadecimal numbers, identifiers, addresses with tokens and minified code, with o200k's own counts: such texts of 10,000 characters are within 4 % then,
 * where upper-case hexadecimal numbers were 60 % off before they had weights of their own.
 */
const O200K: TextWeightsSpec = {
  ascii: {
    space: [0.084, 0.909, 0.23, 0.09, 0.438, 0.491],
    newline: [1.208, 0.095, 0.909, 0.918, 1.117, 0.131],
    lower: [0.707, 0.192, 0.023, 0.314, 0.74, 0.812],
    upper: [0.481, 0.615, 1.174, 0.268, 1.278, 0.642],
    digit: [1.535, 0.935, 1.305, 2.011, 0.285, 1.037],
    punctuation: [0.565, 0.714, 0.692, 0.624, 0.817, 0.253],
  },
  start: { space: 0.1, newline: 0.5, lower: 0.85, upper: 0.65, digit: 1, punctuation: 0.7 },
  code: {
    lower: { lower: 0.123, upper: 0.392, digit: 0.688, punctuation: 0.177 },
    upper: { lower: 1.314, upper: 0.563, digit: 0.862, punctuation: 0.153 },
    digit: { lower: 1.343, upper: 0.906, digit: 0.197, punctuation: 0.963 },
    punctuation: { lower: 1.041, upper: 0.715, digit: 0.88 },
  },
  other: {
    accented: 1.5,
    cyrillic: 0.25,
    eastern: 0.35,
    southern: 0.38,
    han: 0.8,
    hangul: 0.7,
    surrogate: 0.9,
    symbol: 0.6,
    rare: 1.7,
  },
};

/** From Anthropic's own counts of the same declarations and code, for both generations: they differ in ASCII only. */
const CLAUDE_OTHER: TextWeightsSpec["other"] = {
  accented: 2,
  cyrillic: 0.37,
  eastern: 0.75,
  southern: 0.9,
  han: 1.08,
  hangul: 1.3,
  surrogate: 1.3,
  symbol: 0.9,
  rare: 1.5,
};
/** Claude's tokens ÷ o200k's for English and programs: 1.08 and 1.17 before 4.7, 1.57 and 1.46 from it on. Nobody has counted runs that are code: taken to be alike. */
const CLAUDE_3_ASCII = 1.15;
const CLAUDE_4_7_ASCII = 1.5;

/** All numbers of a table of tables, times `factor`. */
function scaled<Table extends object>(table: Table, factor: number): Table {
  const entries = Object.entries(table).map(([name, value]) => [
    name,
    typeof value === "number" ? value * factor : scaled(value as object, factor),
  ]);
  return (Array.isArray(table) ? entries.map(([, value]) => value) : Object.fromEntries(entries)) as Table;
}

function claude(asciiFactor: number): TextWeights {
  return textWeights({
    ascii: scaled(O200K.ascii, asciiFactor),
    start: O200K.start,
    code: scaled(O200K.code, asciiFactor),
    other: CLAUDE_OTHER,
  });
}

const WEIGHTS: Readonly<Record<TokenFamily, TextWeights>> = {
  o200k: textWeights(O200K),
  claude_3: claude(CLAUDE_3_ASCII),
  claude_4_7: claude(CLAUDE_4_7_ASCII),
};

export function textWeightsOf(family: TokenFamily): TextWeights {
  return WEIGHTS[family];
}

/** What an answer costs beside its texts, in model tokens. */
export interface AnswerFrames {
  readonly answer: number;
  readonly toolCall: number;
  /** Calls of tools beyond the first: calls in parallel come in one more frame. */
  readonly nextToolCall: number;
}

/** Fits over 130 recorded streams of OpenAI, and over 232 recorded answers of Claude without and 148 with tools. */
const O200K_FRAMES: AnswerFrames = { answer: 0, toolCall: 6, nextToolCall: 22 };
const CLAUDE_FRAMES: AnswerFrames = { answer: 3, toolCall: 34, nextToolCall: 34 };

export function answerFramesOf(family: TokenFamily): AnswerFrames {
  return family === "o200k" ? O200K_FRAMES : CLAUDE_FRAMES;
}

/** `claude-opus-4-7`, `claude-sonnet-5-20261001`, `claude-3-5-haiku`, `anthropic/claude-opus-4.7`: family word, then major and minor. */
const CLAUDE_VERSION = /claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/;

/** Version of a Claude model by its name, minor ones as tenths (from the ninth on as nine): 4.7 for `claude-opus-4-7`; `undefined` where the name has none. */
export function claudeVersionOf(model: string): number | undefined {
  const version = CLAUDE_VERSION.exec(model);
  return version === null ? undefined : Number(version[1]) + Math.min(9, Number(version[2] ?? 0)) / 10;
}

/** The tokenizer family of a model, by its name; never fails. Models from Claude 4.7 on yield about 30 % more tokens for the same text. */
export function tokenFamilyOf(model: string): TokenFamily {
  if (!model.includes("claude")) return "o200k";
  const version = claudeVersionOf(model);
  return version !== undefined && version >= 4.7 ? "claude_4_7" : "claude_3";
}
