/**
 * How near input estimates are to what providers counted, and what they cost. Needs the collection of recorded calls beside the repository for the first.
 *
 * Bias (E1): every model with 200 recorded calls and more; the first 200 calibrate, the mean of estimate ÷ actual is over the rest, in the order of the
 * recordings, each call estimated before it is learned. The error: the median of |estimate ÷ actual − 1| over calls of repositories that nothing was fitted
 * on, whose bodies hold what the model reads, texts and tools; peers are given exactly those texts. `calibrated` starts knowing nothing.
 */

import { InputCalibration } from "../src/core/estimate/input-calibration.ts";
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import type { EstimateSpeed, Pause } from "./programs/estimate-speed.ts";
import { requireTools } from "./support/debian-tool.ts";
import { gptTokenizer, installPeers, tokenx } from "./support/peers.ts";
import { type RecordedUsage, recordedUsage } from "./support/recorded-usage.ts";
import { median, spread } from "./support/rounds.ts";
import { runProgram } from "./support/run-program.ts";

const CALIBRATING_CALLS = 200;
const BIAS_MAX_PERCENT = 2;
/** Fewer say nothing about a mean. */
const JUDGED_CALLS_MIN = 50;
const ERROR_RATIO_MAX = { "characters ÷ 4": 0.5, tokenx: 1 } as const;
const SCAN_MB_PER_SECOND_MIN = 300;
const PAUSE_MS_MAX = 5;
const CORRECT_US_MAX = 0.3;

interface Estimated {
  readonly call: RecordedUsage;
  readonly isTold: boolean;
  readonly raw: number;
  readonly calibrated: number;
}

/** Estimates every call as a gateway would that starts with the first. */
function replay(calls: readonly RecordedUsage[]): readonly Estimated[] {
  const calibration = new InputCalibration();
  return calls.map((call) => {
    const body = Buffer.from(JSON.stringify(call.body));
    const { inputTokens: raw, inputShape: shape } = call.format.parseCall(call.endpoint, body).estimate;
    const group = { provider: call.provider, model: call.model, shape };
    const calibrated = Math.round(calibration.correct(group, raw));
    calibration.learn(group, raw, call.inputTokens);
    return { call, raw, calibrated, isTold: /\/(text|tools)$/.test(shape ?? "") };
  });
}

const percentOff = (estimate: number, { inputTokens }: RecordedUsage) =>
  Math.abs(estimate / inputTokens - 1) * 100;

function biasFigures(estimated: readonly Estimated[]): readonly Figure[] {
  const models = new Map<string, Estimated[]>();
  for (const one of estimated) {
    const key = `${one.call.provider} ${one.call.model}`;
    models.set(key, [...(models.get(key) ?? []), one]);
  }
  return [...models].flatMap(([model, calls]) => {
    const judged = calls.slice(CALIBRATING_CALLS);
    if (judged.length < JUDGED_CALLS_MIN) return [];
    const biasOf = (estimateOf: (one: Estimated) => number) =>
      Math.abs(
        judged.reduce((sum, one) => sum + estimateOf(one) / one.call.inputTokens, 0) / judged.length - 1,
      );
    return {
      name: `bias, ${model}, ${judged.length} calls after ${CALIBRATING_CALLS}`,
      value: biasOf(({ calibrated }) => calibrated) * 100,
      unit: "%",
      peer: "without calibration",
      ratio: biasOf(({ calibrated }) => calibrated) / biasOf(({ raw }) => raw),
      goal: { on: "value", kind: "at most", bound: BIAS_MAX_PERCENT },
    } as const;
  });
}

/** The texts that a model reads of a body, for peers, who know texts only. */
function textOf({ body }: RecordedUsage): string {
  const texts: string[] = [];
  const collect = (value: unknown): void => {
    if (typeof value === "string") texts.push(value);
    else if (Array.isArray(value)) value.forEach(collect);
    else if (typeof value === "object" && value !== null) {
      for (const [key, member] of Object.entries(value)) if (!UNREAD.has(key)) collect(member);
    }
  };
  for (const field of ["system", "instructions", "messages", "input", "prompt"]) collect(body[field]);
  // As the provider writes them, more or less: schemas are read with their keys.
  for (const field of ["tools", "functions", "response_format"]) {
    if (body[field] !== undefined && body[field] !== null) texts.push(JSON.stringify(body[field]));
  }
  return texts.join("\n");
}

/** Members whose texts are no part of a prompt. */
const UNREAD: ReadonlySet<string> = new Set([
  "type",
  "id",
  "call_id",
  "tool_call_id",
  "tool_use_id",
  "status",
  "signature",
]);

async function errorFigures(estimated: readonly Estimated[]): Promise<readonly Figure[]> {
  const heldOut = estimated.filter(({ call, isTold }) => call.isHeldOut && isTold);
  const countTokenx = await tokenx();
  const countGpt = gptTokenizer();
  const errorOf = (estimate: (one: Estimated) => number) =>
    median(heldOut.map((one) => percentOff(estimate(one), one.call)));
  const static_ = errorOf(({ raw }) => raw);
  const calibrated = errorOf((one) => one.calibrated);
  const peers = {
    "characters ÷ 4": errorOf(({ call }) => textOf(call).length / 4),
    tokenx: errorOf(({ call }) => countTokenx(textOf(call))),
    "gpt-tokenizer": errorOf(({ call }) => countGpt(textOf(call))),
  };
  const calls = `${heldOut.length} held-out calls`;
  return [
    { name: `median error, static, ${calls}`, value: static_, unit: "%" },
    ...Object.entries(peers).map(([peer, error]): Figure => {
      const bound = ERROR_RATIO_MAX[peer as keyof typeof ERROR_RATIO_MAX] as number | undefined;
      return {
        name: `median error, calibrated (the peer's: ${error.toFixed(2)} %)`,
        value: calibrated,
        unit: "%",
        peer,
        ratio: calibrated / error,
        ...(bound !== undefined && { goal: { on: "ratio", kind: "at most", bound } as const }),
      };
    }),
  ];
}

function pauseFigures(size: string, pauses: readonly Pause[]): readonly Figure[] {
  const longest = pauses.map(({ longestMs }) => longestMs);
  const medians = pauses.map(({ medianMs }) => medianMs);
  return [
    {
      name: `longest pause, prompt of ${size}, JSON included`,
      value: median(longest),
      unit: "ms",
      spread: spread(longest),
      ...(size === "200 kB" && { goal: { on: "value", kind: "at most", bound: PAUSE_MS_MAX } as const }),
    },
    {
      name: `estimate beside the parsing, prompt of ${size}`,
      value: median(pauses.map(({ medianMs, jsonMedianMs }) => Math.max(0, medianMs - jsonMedianMs))),
      unit: "ms",
      spread: spread(medians),
      peer: "JSON.parse",
      ratio: median(
        pauses.map(({ medianMs, jsonMedianMs }) => Math.max(0, medianMs - jsonMedianMs) / jsonMedianMs),
      ),
      goal: { on: "ratio", kind: "at most", bound: 1 },
    },
  ];
}

async function speedFigures({ rounds, progress }: RunOptions): Promise<readonly Figure[]> {
  progress("speed");
  const speed = (await runProgram("estimate-speed", String(rounds))) as EstimateSpeed;
  const megabytes = (bytes: readonly number[]) => bytes.map((one) => one / 1_000_000);
  const scans = megabytes(speed.scanBytesPerSecond);
  const codeScans = megabytes(speed.codeScanBytesPerSecond);
  return [
    {
      name: "scan of prompt text",
      value: median(scans),
      unit: "MB/s",
      spread: spread(scans),
      goal: { on: "value", kind: "at least", bound: SCAN_MB_PER_SECOND_MIN },
    },
    { name: "scan of base64", value: median(codeScans), unit: "MB/s", spread: spread(codeScans) },
    ...Object.entries(speed.pauses).flatMap(([size, pauses]) => pauseFigures(size, pauses)),
    {
      name: "correction of an estimate",
      value: median(speed.correctUs),
      unit: "µs",
      spread: spread(speed.correctUs),
      goal: { on: "value", kind: "at most", bound: CORRECT_US_MAX },
    },
  ];
}

export const estimates: Benchmark = {
  name: "estimates",
  async run(options) {
    requireTools("taskset");
    installPeers(options.progress);
    const speed = await speedFigures(options);
    options.progress("recorded calls");
    const estimated = replay(recordedUsage("exchanges.jsonl", "exchanges_compat.jsonl"));
    return [...biasFigures(estimated), ...(await errorFigures(estimated)), ...speed];
  },
};
