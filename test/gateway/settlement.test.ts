import assert from "node:assert/strict";
import { test } from "node:test";
import { type CallEnd, settlementOf } from "../../src/gateway/settlement.ts";
import type { MeteredUsage, ParsedCall } from "../../src/ports/provider-format.ts";

const USAGE = {
  inputTokens: 10,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens: 20,
  reasoningTokens: 0,
};
const PROMPT = { ...USAGE, inputTokens: 7, outputTokens: 0 };
const REPORTED: MeteredUsage = { kind: "reported", usage: USAGE };
const COUNTED: MeteredUsage = { kind: "counted", usage: USAGE };
const NONE: MeteredUsage = { kind: "none" };

const call = (part: Partial<ParsedCall> = {}): ParsedCall => ({
  endpoint: "chat_completions",
  model: "m",
  stream: false,
  estimate: { inputTokens: 7, outputTokensMax: undefined },
  upstreamBody: Buffer.alloc(0),
  usageSpliced: false,
  ...part,
});
const WHOLE = call();
const STREAM = call({ stream: true });
const BACKGROUND = call({ runsOn: true });

const end = (part: Partial<CallEnd>): CallEnd => ({
  call: WHOLE,
  metered: undefined,
  isCut: false,
  isSent: true,
  isUnreadable: false,
  ...part,
});

const cases: readonly (readonly [what: string, end: Partial<CallEnd>, expected: object])[] = [
  ["whole", { metered: REPORTED }, { usage: USAGE, source: "reported" }],
  ["whole, without a usage", { metered: COUNTED }, { usage: USAGE, source: "counted" }],
  ["an error", { metered: NONE }, { usage: undefined }],
  ["a stream, whole", { call: STREAM, metered: REPORTED }, { usage: USAGE, source: "reported" }],
  // What is said before the end is not learned from.
  ["cut, with a usage", { metered: REPORTED, isCut: true }, { usage: USAGE, source: "counted" }],
  ["a cut stream", { call: STREAM, metered: COUNTED, isCut: true }, { usage: USAGE, source: "counted" }],
  ["cut before the answer", { isCut: true }, { usage: PROMPT, source: "interrupted" }],
  ["a stream, cut before it", { call: STREAM, isCut: true }, { usage: PROMPT, source: "counted" }],
  ["in the background, cut", { call: BACKGROUND, isCut: true }, { usage: PROMPT, source: "unseen" }],
  ["in the background", { call: BACKGROUND, metered: COUNTED }, { usage: USAGE, source: "unseen" }],
  ["in the background, told", { call: BACKGROUND, metered: REPORTED }, { usage: USAGE, source: "reported" }],
  ["compressed", { isUnreadable: true }, { usage: PROMPT, source: "unseen" }],
  ["compressed, cut", { isUnreadable: true, isCut: true }, { usage: PROMPT, source: "unseen" }],
  ["passed through", { call: undefined }, { usage: undefined }],
  ["passed through, cut", { call: undefined, isCut: true }, { usage: undefined }],
  ["passed through, compressed", { call: undefined, isUnreadable: true }, { usage: undefined }],
];

for (const [what, part, expected] of cases) {
  test(`settlementOf charges a call that is ${what} (S2)`, () => {
    assert.deepEqual(settlementOf(end(part)), { kind: "settle", ...expected });
  });
}

test("settlementOf gives everything back of a call that was never sent, and of no other (L7)", () => {
  for (const each of [WHOLE, STREAM, BACKGROUND, undefined]) {
    assert.deepEqual(settlementOf(end({ call: each, isCut: true, isSent: false })), { kind: "release" });
    assert.equal(settlementOf(end({ call: each, isCut: true })).kind, "settle");
  }
});
