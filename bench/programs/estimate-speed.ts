/**
 * What an input estimate costs the event loop, alone on one core.
 *
 *     node estimate-speed.ts ROUNDS        prints RESULT with `EstimateSpeed`
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { InputCalibration } from "../../src/core/estimate/input-calibration.ts";
import { TextTokenCounter } from "../../src/core/estimate/text-tokens.ts";
import { textWeightsOf } from "../../src/core/estimate/token-family.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

/** Measurements of each round. */
export interface EstimateSpeed {
  /** Bytes of texts that are read in full, a second of a core's time: what others take of the core is not ours. */
  readonly scanBytesPerSecond: readonly number[];
  /** The same of one long base64 text. */
  readonly codeScanBytesPerSecond: readonly number[];
  /** Longest undisturbed time for a body of that many bytes, to a finished estimate, JSON included; and the median of `JSON.parse` alone. */
  readonly pauses: Readonly<Record<"200 kB" | "10 MB", readonly Pause[]>>;
  readonly correctUs: readonly number[];
}

export interface Pause {
  readonly longestMs: number;
  readonly medianMs: number;
  readonly jsonMedianMs: number;
}

/** Below the length from which on texts are read in part. */
const SCAN_CHARS = 60_000;
const SCAN_TEXTS = 500;
const CORRECTIONS = 2_000_000;
const REPEATS = { "200 kB": 200, "10 MB": 12 } as const;
const BYTES = { "200 kB": 200_000, "10 MB": 10_000_000 } as const;

const PARAGRAPH = `The quick brown fox jumps over the lazy dog, and asks: "How many tokens is this?" (42, or 1,337 at most).
  const total = items.reduce((sum, { price }) => sum + price * 1.2, 0); // €, not $
{"user": "alice", "plan": "free", "limits": [10, 100], "url": "https://example.com/a/b?c=d"}

Rate limits are told in requests and in model tokens a minute; whoever counts only one of them is surprised by the other.
`;

const textOf = (chars: number) => PARAGRAPH.repeat(Math.ceil(chars / PARAGRAPH.length)).slice(0, chars);

function scanRate(text: string): number {
  const bytes = Buffer.byteLength(text);
  const start = process.cpuUsage();
  for (let turn = 0; turn < SCAN_TEXTS; turn++) {
    const counter = new TextTokenCounter(textWeightsOf("o200k"));
    counter.addText(text);
    if (!(counter.tokens > 0)) throw new Error("no tokens");
  }
  const { user, system } = process.cpuUsage(start);
  return (SCAN_TEXTS * bytes * 1_000_000) / (user + system);
}

/** Base64 of what is as good as random, and the same each time. */
const base64Of = (chars: number) =>
  Array.from({ length: Math.ceil(chars / 64) }, (_, line) =>
    createHash("sha384").update(`${line}`).digest("base64"),
  )
    .join("")
    .slice(0, chars);

/** How often the kernel took the core from this process: a pause in which it did is not ours. */
function preemptions(): number {
  const [, count] =
    /nonvoluntary_ctxt_switches:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(count);
}

const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1] as number;

function pauseOf(size: keyof typeof BYTES): Pause {
  const content = textOf(BYTES[size]);
  const body = Buffer.from(JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content }] }));
  const time = (work: () => unknown) => {
    const times: number[] = [];
    const disturbed: number[] = [];
    for (let turn = 0; turn < REPEATS[size]; turn++) {
      const before = preemptions();
      const startMs = performance.now();
      work();
      const ms = performance.now() - startMs;
      (preemptions() === before ? times : disturbed).push(ms);
    }
    // On a busy machine none of the few long ones may be left alone.
    return times.length > 0 ? times : disturbed;
  };
  const times = time(() => openaiFormat.parseCall("chat_completions", body));
  const json = time(() => JSON.parse(body.toString("utf8")));
  return { longestMs: Math.max(...times), medianMs: median(times), jsonMedianMs: median(json) };
}

function correctionUs(): number {
  const calibration = new InputCalibration();
  const group = { provider: "openai", model: "gpt-4o", shape: "chat_completions/text", feature: "summarize" };
  for (let call = 0; call < 300; call++) calibration.learn(group, 1_000 + call, 1_100 + call);
  let sum = 0;
  const startMs = performance.now();
  for (let call = 0; call < CORRECTIONS; call++) sum += calibration.correct(group, 100 + (call & 1_023));
  const us = ((performance.now() - startMs) * 1_000) / CORRECTIONS;
  if (!(sum > 0)) throw new Error("no estimates");
  return us;
}

const measure = <Value>(work: () => Value, rounds: number): Value[] => {
  // Once for V8 to optimise.
  work();
  return Array.from({ length: rounds }, work);
};

const rounds = Number(process.argv[2]);
const result: EstimateSpeed = {
  scanBytesPerSecond: measure(() => scanRate(textOf(SCAN_CHARS)), rounds),
  codeScanBytesPerSecond: measure(() => scanRate(base64Of(SCAN_CHARS)), rounds),
  pauses: {
    "200 kB": measure(() => pauseOf("200 kB"), rounds),
    "10 MB": measure(() => pauseOf("10 MB"), rounds),
  },
  correctUs: measure(correctionUs, rounds),
};
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
