/**
 * Buckets of a histogram of lengths: exact up to 31, then 16 to an octave, so that a bucket is at most 1/16 of its lengths wide. The last one takes
 * everything above a million model tokens, more than any model writes.
 */
const STEPS_BITS = 4;
export const LENGTH_MAX = (1 << 20) - 1;

/** The bucket of a length: a non-negative integer. */
export function bucketOf(length: number): number {
  const bounded = Math.min(length, LENGTH_MAX);
  const shift = Math.max(0, 31 - STEPS_BITS - Math.clz32(bounded));
  return (shift << STEPS_BITS) + (bounded >> shift);
}

/** The smallest length in a bucket; of the one after the last, the first length that has no bucket. */
export function bucketStart(bucket: number): number {
  const shift = Math.max(0, (bucket >> STEPS_BITS) - 1);
  return (bucket - (shift << STEPS_BITS)) << shift;
}

export const BUCKETS = bucketOf(LENGTH_MAX) + 1;

/** New evidence grows in weight instead of old evidence shrinking; from here on everything is scaled back. Far from the largest of a float. */
const WEIGHT_MAX = 2 ** 40;

/** A histogram of lengths that forgets: each new one multiplies the weight of those before it by `retention`. */
export class ForgettingHistogram {
  readonly #retention: number;
  readonly #counts = new Float32Array(BUCKETS);
  #weight = 1;
  #total = 0;
  #added = 0;

  constructor(retention: number) {
    this.#retention = retention;
  }

  /** How many recent lengths this is worth: at most 1 / (1 − retention). */
  get evidence(): number {
    return this.#total / this.#weight;
  }

  /** How many lengths were ever added. */
  get added(): number {
    return this.#added;
  }

  add(length: number): void {
    this.#added++;
    this.#weight /= this.#retention;
    this.#counts[bucketOf(length)] += this.#weight;
    this.#total += this.#weight;
    if (this.#weight < WEIGHT_MAX) return;
    for (let i = 0; i < BUCKETS; i++) this.#counts[i] /= this.#weight;
    this.#total /= this.#weight;
    this.#weight = 1;
  }

  /** Adds the weight of each bucket, times `factor`, to `sum`. */
  addTo(sum: Float64Array, factor: number): void {
    const scale = factor / this.#weight;
    for (let i = 0; i < BUCKETS; i++) sum[i] += this.#counts[i] * scale;
  }

  /** Adds what `packed(scale)` gave. */
  addPacked(pairs: readonly number[], scale: number): void {
    for (let i = 0; i < pairs.length; i += 2) {
      const weight = (pairs[i + 1] / scale) * this.#weight;
      this.#counts[pairs[i]] += weight;
      this.#total += weight;
    }
  }

  /** Flat (bucket, weight × `scale` rounded, bucket, …); buckets whose weight rounds to nothing are left out. */
  packed(scale: number): number[] {
    const pairs: number[] = [];
    for (let i = 0; i < BUCKETS; i++) {
      const amount = Math.round((this.#counts[i] / this.#weight) * scale);
      if (amount > 0) pairs.push(i, amount);
    }
    return pairs;
  }
}
