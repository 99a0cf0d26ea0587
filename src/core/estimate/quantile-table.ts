import { BUCKETS, bucketStart } from "./length-buckets.ts";

/** Levels at which a table keeps its quantile: closer together where the tail makes them differ. */
const LEVELS: readonly number[] = [
  0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.82, 0.84, 0.86, 0.88, 0.89, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96,
  0.97, 0.98, 0.985, 0.99, 0.995, 0.9995,
];
const LEVEL_TOP = LEVELS[LEVELS.length - 1];

/** Cells of the index from a level to its place in `LEVELS`: fine enough that no two levels share one. */
const INDEX_CELLS = 2_000;
const INDEX = new Uint8Array(INDEX_CELLS + 1);
for (let cell = 0, place = 0; cell <= INDEX_CELLS; cell++) {
  while (place + 2 < LEVELS.length && LEVELS[place + 1] <= cell / INDEX_CELLS) place++;
  INDEX[cell] = place;
}

/** Quantiles of a distribution of lengths, ready to be asked in a few nanoseconds. */
export class QuantileTable {
  readonly #quantiles = new Float64Array(LEVELS.length);

  /** Takes the quantiles of a distribution over buckets. Inside a bucket lengths are taken to lie evenly. */
  fill(shares: Float64Array): void {
    let below = 0;
    let bucket = 0;
    for (let i = 0; i < LEVELS.length; i++) {
      const wanted = LEVELS[i];
      while (bucket < BUCKETS - 1 && (shares[bucket] === 0 || below + shares[bucket] < wanted))
        below += shares[bucket++];
      const start = bucketStart(bucket);
      // A bucket of width 1 holds one length only: it is the quantile.
      const span = bucketStart(bucket + 1) - 1 - start;
      const part = shares[bucket] > 0 ? Math.min(1, (wanted - below) / shares[bucket]) : 1;
      this.#quantiles[i] = start + span * part;
    }
  }

  /** The quantile at a level; levels above the highest one kept give that one's. */
  at(level: number): number {
    if (level >= LEVEL_TOP) return this.#quantiles[LEVELS.length - 1];
    if (level <= 0) return this.#quantiles[0];
    const place = INDEX[(level * INDEX_CELLS) | 0];
    const low = LEVELS[place];
    const part = (level - low) / (LEVELS[place + 1] - low);
    const quantile = this.#quantiles[place];
    return quantile + (this.#quantiles[place + 1] - quantile) * part;
  }

  /** The share of lengths up to this one: as far as the levels tell. */
  levelOf(length: number): number {
    const quantiles = this.#quantiles;
    if (length < quantiles[0]) return 0;
    let place = LEVELS.length - 1;
    while (quantiles[place] > length) place--;
    if (place === LEVELS.length - 1) return LEVEL_TOP;
    const part = (length - quantiles[place]) / (quantiles[place + 1] - quantiles[place]);
    return LEVELS[place] + (LEVELS[place + 1] - LEVELS[place]) * part;
  }
}
