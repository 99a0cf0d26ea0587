import type { Usage } from "../estimate/usage.ts";
import { BASIS_POINTS, type ModelPrice, ratesFor } from "./model-price.ts";

/** Rates are per million. */
const PER = 1_000_000;
/** No call costs nine million dollars: what the largest limit can hold. More would be nonsense, and no safe integer. */
export const COST_NANO_USD_MAX = 9_000_000 * 1_000_000_000;
/** A greater count is a mistake (see the same bound in `providers/http/reported-usage.ts`). */
const COUNT_MAX = 1_000_000_000;

/** What is billed of a usage; what is not there is none. */
export type BilledUsage = Pick<Usage, "inputTokens" | "outputTokens"> & Partial<Usage>;

/** An integer in [0, COUNT_MAX]. */
const count = (value: number | undefined): number =>
  value !== undefined && value > 0 ? Math.min(COUNT_MAX, Math.ceil(value)) : 0;

/**
 * ⌈a / b⌉ for safe integers. The double quotient does: one that is no integer is at least 1/b away from the next, and doubles below 2^53 / b
 * lie less than 2/b apart.
 */
const ceilDivide = (a: number, b: number): number => Math.ceil(a / b);

/** Each kind of thing with its rate, into `add`. Kinds overlap in what providers report: a part is never larger than what is left of its whole. */
function forEachPart(
  price: ModelPrice,
  usage: BilledUsage,
  calls: number,
  add: (amount: number, rate: number) => void,
): void {
  const input = count(usage.inputTokens);
  const rates = ratesFor(price, input);
  const cached = Math.min(count(usage.cachedInputTokens), input);
  const written = Math.min(count(usage.cacheWriteInputTokens), input - cached);
  const writtenLong = Math.min(count(usage.cacheWriteLongInputTokens), written);
  const audio = Math.min(count(usage.audioInputTokens), input);
  const cachedAudio = Math.min(count(usage.cachedAudioInputTokens), cached, audio);
  const freshAudio = Math.min(audio - cachedAudio, input - cached - written);
  add(input - cached - written - freshAudio, rates.input);
  add(cached - cachedAudio, rates.cachedInput);
  add(cachedAudio, rates.cachedAudioInput);
  add(written - writtenLong, rates.cacheWrite);
  add(writtenLong, rates.cacheWriteLong);
  add(freshAudio, rates.audioInput);
  const output = count(usage.outputTokens);
  const audioOutput = Math.min(count(usage.audioOutputTokens), output);
  const reasoning = Math.min(count(usage.reasoningTokens), output - audioOutput);
  add(output - audioOutput - reasoning, rates.output);
  add(audioOutput, rates.audioOutput);
  add(reasoning + count(usage.reasoningApartTokens), rates.reasoning);
  add(count(usage.audioInputApartTokens), rates.audioInput);
  add(calls, rates.request);
  add(count(usage.webSearches), rates.webSearch);
}

/**
 * What a call costs in nano-USD: an integer, exact, rounded up once, at the end (E6). More than `COST_NANO_USD_MAX` counts as that.
 *
 * In doubles where every step is a safe integer, which is every ordinary call; in big integers otherwise. `calls`: 0 for what was run for a call whose price is paid already.
 */
export function costOf(price: ModelPrice, usage: BilledUsage, calls = 1): number {
  let sum = 0;
  forEachPart(price, usage, calls, (amount, rate) => {
    sum += amount * rate;
  });
  const { paidBasisPoints } = price;
  // Terms are never negative, so a sum that is safe now was safe, and exact, all along.
  if (paidBasisPoints === BASIS_POINTS) {
    if (sum <= Number.MAX_SAFE_INTEGER) return ceilDivide(sum, PER);
  } else if (sum * paidBasisPoints <= Number.MAX_SAFE_INTEGER) {
    return ceilDivide(sum * paidBasisPoints, PER * BASIS_POINTS);
  }
  return exactCost(price, usage, calls);
}

/** What this output alone costs of a call whose whole input has this length, which decides over the rate: an integer, rounded up. */
export function outputCostOf(price: ModelPrice, inputTokens: number, outputTokens: number): number {
  const { rates } = price;
  const inForce = ratesFor(price, count(inputTokens));
  const none = { ...rates, request: 0, output: inForce.output };
  return costOf(
    { rates: none, tiers: [], paidBasisPoints: price.paidBasisPoints },
    { inputTokens: 0, outputTokens },
  );
}

function exactCost(price: ModelPrice, usage: BilledUsage, calls: number): number {
  let sum = 0n;
  forEachPart(price, usage, calls, (amount, rate) => {
    sum += BigInt(amount) * BigInt(rate);
  });
  const divisor = BigInt(PER) * BigInt(BASIS_POINTS);
  const cost = (sum * BigInt(price.paidBasisPoints) + divisor - 1n) / divisor;
  return cost > BigInt(COST_NANO_USD_MAX) ? COST_NANO_USD_MAX : Number(cost);
}

/** The most plain output that `capacity` nano-USD pay for beside the input; 0 where they do not pay for that, `Infinity` where output costs nothing. */
export function outputRoomFor(price: ModelPrice, capacity: number, inputTokens: number): number {
  const rates = ratesFor(price, count(inputTokens));
  const paid = BigInt(price.paidBasisPoints);
  const perToken = BigInt(rates.output) * paid;
  if (perToken === 0n) return Number.POSITIVE_INFINITY;
  const fixed = (BigInt(count(inputTokens)) * BigInt(rates.input) + BigInt(rates.request)) * paid;
  const rest = BigInt(capacity) * BigInt(PER) * BigInt(BASIS_POINTS) - fixed;
  return rest < 0n ? 0 : Math.min(COUNT_MAX, Number(rest / perToken));
}
