const NANO = 1_000_000_000;

/**
 * Nano-USD of an amount in USD: the nearest, by its decimals, since the product of two doubles may miss it by one. Exact below four million
 * dollars (2^22), where a double still tells nano-dollars apart; above, within one.
 */
export const nanoOfUsd = (usd: number): number => Number(usd.toFixed(9).replace(".", ""));

/** USD of an amount in nano-USD, to be shown: prints as the exact decimal below four million dollars. */
export const usdOfNano = (nanoUsd: number): number => nanoUsd / NANO;

/** `0.000000123`, `12.5`, `1234`: exact, never in powers of ten. */
export function formatUsd(nanoUsd: number): string {
  const sign = nanoUsd < 0 ? "-" : "";
  const digits = String(Math.abs(nanoUsd)).padStart(10, "0");
  const fraction = digits.slice(-9).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -9)}${fraction === "" ? "" : `.${fraction}`}`;
}
