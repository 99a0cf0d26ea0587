import { BUCKETS, bucketOf } from "./length-buckets.ts";

/** New evidence grows in weight instead of old evidence shrinking; from here on everything is scaled back. Far from the largest of a float. */
const WEIGHT_MAX = 2 ** 40;
/** Of no call has anything been counted before it comes to bucket 0. */
export const NOTHING_REACHED = -1;

/**
 * Lengths as evidence that is exchanged: flat (bucket, amount, …), amounts in a unit that both sides agree on. From `BUCKETS` on, the pair is of
 * calls that came as far as bucket − `BUCKETS`, and nobody knows how much further.
 */
export type PackedLengths = readonly number[];
export const PACKED_BUCKETS = 2 * BUCKETS;

/**
 * How long outputs get: by bucket of length, how many calls have come to it, and how many of these have ended in it, which is the estimator of Kaplan
 * and Meier (JASA 1958). A running call counts in the buckets that it has come to, so that what is known early is not of the short calls only, which end
 * first. It forgets: each end multiplies the weight of all before it by `retention`; arrivals and ends of one time fade alike, so their ratio is right.
 */
export class SurvivalHistogram {
  readonly #retention: number;
  readonly #ended = new Float32Array(BUCKETS);
  readonly #reached = new Float32Array(BUCKETS);
  #weight = 1;
  #added = 0;

  constructor(retention: number) {
    this.#retention = retention;
  }

  /** How many recent calls this is worth, running ones included. */
  get evidence(): number {
    return this.#reached[0] / this.#weight;
  }

  /** How many calls have ended. */
  get added(): number {
    return this.#added;
  }

  /** A running call of which `before` was the last bucket counted has come to `bucket`. */
  reach(before: number, bucket: number): void {
    for (let i = before + 1; i <= bucket; i++) this.#reached[i] += this.#weight;
  }

  /** A running call that was counted up to `reached` counts no more. */
  takeBack(reached: number): void {
    for (let i = 0; i <= reached; i++)
      this.#reached[i] = Math.max(this.#ended[i], this.#reached[i] - this.#weight);
  }

  /** A call has ended; `reached` is the last bucket that was counted of it. */
  add(length: number, reached = NOTHING_REACHED): void {
    const bucket = bucketOf(length);
    // It was counted as having come further than it did: to the end of a group of buckets, or by an estimate of its stream.
    for (let i = bucket + 1; i <= reached; i++)
      this.#reached[i] = Math.max(0, this.#reached[i] - this.#weight);
    this.#added++;
    this.#weight /= this.#retention;
    this.reach(reached, bucket);
    this.#ended[bucket] += this.#weight;
    if (this.#weight >= WEIGHT_MAX) this.#scaleBack();
  }

  /** Adds the weights of the buckets to sums. */
  addTo(ended: Float64Array, reached: Float64Array): void {
    const scale = 1 / this.#weight;
    for (let i = 0; i < BUCKETS; i++) {
      ended[i] += this.#ended[i] * scale;
      reached[i] += this.#reached[i] * scale;
    }
  }

  /** Adds what `packed(scale)` gave. */
  addPacked(lengths: PackedLengths, scale: number): void {
    for (let i = 0; i < lengths.length; i += 2) {
      const bucket = lengths[i] % BUCKETS;
      const weight = (lengths[i + 1] / scale) * this.#weight;
      if (lengths[i] < BUCKETS) this.#ended[bucket] += weight;
      for (let j = 0; j <= bucket; j++) this.#reached[j] += weight;
    }
  }

  /** The distribution that this is evidence of, times the evidence and `scale`, rounded; what rounds to nothing is left out. */
  packed(scale: number): number[] {
    const pairs: number[] = [];
    const evidence = this.evidence * scale;
    const add = (bucket: number, share: number) => {
      const amount = Math.round(share * evidence);
      if (amount > 0) pairs.push(bucket, amount);
    };
    let alive = 1;
    let last = 0;
    for (let i = 0; i < BUCKETS && this.#reached[i] > 0; i++) {
      const hazard = Math.min(1, this.#ended[i] / this.#reached[i]);
      add(i, alive * hazard);
      alive *= 1 - hazard;
      last = i;
    }
    add(BUCKETS + last, alive);
    return pairs;
  }

  #scaleBack(): void {
    for (let i = 0; i < BUCKETS; i++) {
      this.#ended[i] /= this.#weight;
      this.#reached[i] /= this.#weight;
    }
    this.#weight = 1;
  }
}

/** Sums packed lengths into two halves: those that ended in a bucket, and those that came as far as it. Returns their amount. */
export function sumPacked(lengths: PackedLengths, factor: number, sums: Float32Array): number {
  let total = 0;
  for (let i = 0; i < lengths.length; i += 2) {
    sums[lengths[i]] += lengths[i + 1] * factor;
    total += lengths[i + 1] * factor;
  }
  return total;
}

/** Adds `sumPacked`'s halves, times `factor`, to sums as `addTo` gives them. */
export function addPackedSums(
  sums: Float32Array,
  factor: number,
  ended: Float64Array,
  reached: Float64Array,
): void {
  let beyond = 0;
  for (let i = BUCKETS - 1; i >= 0; i--) {
    beyond += sums[i] + sums[BUCKETS + i];
    ended[i] += sums[i] * factor;
    reached[i] += beyond * factor;
  }
}
