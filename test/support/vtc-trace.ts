import { serviceOf } from "../../src/core/fairness/service.ts";
import type { TraceCall } from "./output-traces.ts";
import type { SimulatedCall } from "./service-simulation.ts";

const SECOND_MS = 1_000;
/** Output expected of the first call of all. */
const OUTPUT_GUESS = 200;

const sizeOf = (inputTokens: number, outputTokens: number) =>
  serviceOf({ inputTokens, cachedInputTokens: 0, outputTokens });

/**
 * Arrivals of a trace as calls of which the input is known and the output is not: it is expected to be as long as outputs were on average so far. With
 * `known` lengths both are.
 */
export function callsOfTrace(rows: readonly TraceCall[], known = false): SimulatedCall[] {
  let sum = 0;
  return rows.map(({ atSeconds, client, inputTokens, outputTokens }, i) => {
    const actual = sizeOf(inputTokens, outputTokens);
    const expected = known ? actual : sizeOf(inputTokens, i === 0 ? OUTPUT_GUESS : Math.round(sum / i));
    sum += outputTokens;
    return { user: client ?? "nobody", atMs: atSeconds * SECOND_MS, expected, actual };
  });
}

/** Weighted model tokens a second that arrive. */
export function offeredLoad(calls: readonly SimulatedCall[]): number {
  const total = calls.reduce((sum, { actual }) => sum + actual, 0);
  return total / ((calls[calls.length - 1].atMs - calls[0].atMs) / SECOND_MS);
}
