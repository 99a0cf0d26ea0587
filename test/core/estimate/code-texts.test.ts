import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TextTokenCounter } from "../../../src/core/estimate/text-tokens.ts";
import { textWeightsOf } from "../../../src/core/estimate/token-family.ts";
import counts from "../../fixtures/code-text-tokens.json" with { type: "json" };
import { CODE_TEXT_KINDS, codeText, promptWithCode } from "../../support/code-texts.ts";

const tokensOf = (text: string) => {
  const counter = new TextTokenCounter(textWeightsOf("o200k"));
  counter.addText(text);
  return counter.tokens;
};

/** Of a text of that many characters, beside o200k and cl100k; a single short text scatters. */
const ERROR_MAX = { 100: [0.15, 0.2], 1000: [0.1, 0.12], 10000: [0.06, 0.1], 200000: [0.06, 0.1] } as const;
const PROMPT_ERROR_MAX = 0.05;

describe("estimates of text that is code rather than words, beside what gpt-tokenizer counts of it", () => {
  for (const kind of CODE_TEXT_KINDS) {
    test(`${kind}: of any length, alone and in a prompt (E1)`, () => {
      for (const [chars, [o200kMax, cl100kMax]] of Object.entries(ERROR_MAX)) {
        const { o200k, cl100k } = counts[kind][chars as unknown as keyof typeof ERROR_MAX];
        const tokens = tokensOf(codeText(kind, Number(chars), 0));
        assert.ok(Math.abs(tokens / o200k - 1) < o200kMax, `${chars} characters: ${tokens}, o200k ${o200k}`);
        assert.ok(
          Math.abs(tokens / cl100k - 1) < cl100kMax,
          `${chars} characters: ${tokens}, cl100k ${cl100k}`,
        );
      }
      const { o200k } = counts[kind]["in a prompt of 10000"];
      const tokens = tokensOf(promptWithCode(kind, 10_000, 0));
      assert.ok(Math.abs(tokens / o200k - 1) < PROMPT_ERROR_MAX, `in a prompt: ${tokens}, o200k ${o200k}`);
    });
  }
});

test("a run is code from its second change between letters and digits on, until a space or a second mark (E1)", () => {
  /** Of one more digit after an upper-case letter; to the thousandth, as weights are. */
  const growth = (before: string) => Number((tokensOf(`${before}2`) - tokensOf(before)).toFixed(3));
  const upperDigit = growth("A");
  assert.equal(growth("SHA"), upperDigit, "a name with a number is none");
  const inCode = growth("A1B");
  assert.ok(inCode < 0.6 * upperDigit, `${inCode} ${upperDigit}`);
  for (const code of ["1B", "A1b-C", "a1b2c3_D", "0x1F+A"]) assert.equal(growth(code), inCode, code);
  for (const words of ["A1B2 A", "A1B2\nA", "A1B2--A", "A1B2é.A", "A-1 B"]) {
    assert.equal(growth(words), upperDigit, words);
  }
});
