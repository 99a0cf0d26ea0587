import type fc from "fast-check";

/** `SLUICE_RUNS=20 npm test` runs every property twenty times as often; `SLUICE_SEED=n` repeats a failure. */
const RUNS_FACTOR = Number(process.env.SLUICE_RUNS ?? 1);
const SEED = process.env.SLUICE_SEED;

/** Parameters of a property with so many runs by default. A failure prints its seed and the smallest history that fails. */
export function runs<T>(count: number): fc.Parameters<T> {
  const numRuns = Math.max(1, Math.round(count * RUNS_FACTOR));
  return SEED === undefined ? { numRuns } : { numRuns, seed: Number(SEED) };
}
