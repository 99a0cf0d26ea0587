import { BUCKETS, bucketStart } from "./length-buckets.ts";
import { QuantileTable } from "./quantile-table.ts";
import {
  addPackedSums,
  PACKED_BUCKETS,
  type PackedLengths,
  SurvivalHistogram,
  sumPacked,
} from "./survival-histogram.ts";

/** Memory of about 500 calls: long enough for a 90 % quantile that moves by 1.3 points, short enough to follow a change within a quarter of an hour's calls. */
const RETENTION = 1 - 1 / 500;
/**
 * What the next broader group weighs, in calls. Measured on the traces of `bench/holds.ts`: 5 holds up to a third more where groups are small and
 * lengths wild, 20 a little more than 10 where they are small and tame.
 */
const PRIOR_CALLS = 20;
/**
 * What it weighs that nothing is known at all: one call, since of n lengths that were seen, the longest covers the next call in n of n + 1 cases. Its length
 * is one that models write: half below 200, nine in ten below the default of the configuration, with a long tail (log-logistic) up to what many write at most.
 */
const UNKNOWN_CALLS = 1;
const UNKNOWN_MEDIAN = 200;
const UNKNOWN_MAX = 8_192;
const UNKNOWN_SHAPE = Math.log(9) / Math.log(1_024 / UNKNOWN_MEDIAN);
/** Recomputing quantiles takes some microseconds; so many new lengths in a well-known group move them by little. */
const PENDING_MAX = 16;
/** How much of a new length it is that a running call has come a bucket further: it takes some eighty to its end, of which the first few say most. */
const PENDING_BUCKET = 1 / 32;
/** A group with less evidence than this leans on broader ones, and looks at them again after so many calls anywhere. */
const COLD_EVIDENCE = 50;
const COLD_CALLS_MAX = 64;
/** Fewer calls than this in a bucket are none: rounding. */
const WEIGHT_MIN = 1e-9;

const unknownUpTo = (length: number) =>
  length <= 0 ? 0 : length >= UNKNOWN_MAX ? 1 : 1 / (1 + (length / UNKNOWN_MEDIAN) ** -UNKNOWN_SHAPE);
const UNKNOWN = Float64Array.from(
  { length: BUCKETS },
  (_, i) => unknownUpTo(bucketStart(i + 1) - 0.5) - unknownUpTo(bucketStart(i) - 0.5),
);

/** Only ever used inside one synchronous step: a distribution, and what one cell adds to it. */
const shares = new Float64Array(BUCKETS);
const ended = new Float64Array(BUCKETS);
const reached = new Float64Array(BUCKETS);

/** Published amounts are integers, in units of 1 / `SHARED_SCALE` calls, so that their sum does not depend on the order in which they arrive. */
export const SHARED_SCALE = 16;

interface Contribution {
  readonly lengths: PackedLengths;
  /** How many calls of its own the cell had seen when this came: it fades like evidence of that age. */
  readonly since: number;
}

/**
 * The lengths of one group, this instance's own and those that others published, with their quantiles ready. What the group has seen itself is
 * mixed with a little of the next broader group, whose share vanishes as evidence grows; beyond the lengths that it has seen, calls are taken to go on like
 * those of the broader group.
 */
export class QuantileCell {
  readonly own = new SurvivalHistogram(RETENTION);
  readonly #broader: QuantileCell | undefined;
  readonly #table = new QuantileTable();
  readonly #contributions = new Map<string, Contribution>();
  #shared: Float32Array | undefined;
  #sharedTotal = 0;
  /** `own.added` when `#shared` was summed up. */
  #sharedAt = 0;
  /** New lengths that the quantiles do not know of yet. */
  #pending = Number.POSITIVE_INFINITY;
  #refreshedAt = 0;
  /** For narrower groups: the distribution as it was a few lengths ago. */
  #distribution: Float64Array | undefined;
  #pendingForNarrower = Number.POSITIVE_INFINITY;

  constructor(broader: QuantileCell | undefined) {
    this.#broader = broader;
  }

  /** In calls, faded. */
  get evidence(): number {
    return this.own.evidence + this.#sharedTotal * this.#sharedFactor();
  }

  /** See `SurvivalHistogram.reach`. */
  reach(before: number, bucket: number): void {
    this.own.reach(before, bucket);
    this.#isNew((bucket - before) * PENDING_BUCKET);
  }

  /** See `SurvivalHistogram.takeBack`. */
  takeBack(reached: number): void {
    this.own.takeBack(reached);
    this.#isNew(reached * PENDING_BUCKET);
  }

  /** See `SurvivalHistogram.add`. */
  add(length: number, reachedBefore: number): void {
    this.own.add(length, reachedBefore);
    this.#isNew(1);
  }

  /** Replaces what an instance has published for this group; nothing published takes it away. */
  share(instance: string, lengths: PackedLengths | undefined): void {
    const before = this.#contributions.size;
    this.#contributions.delete(instance);
    if (lengths !== undefined) this.#contributions.set(instance, { lengths, since: this.own.added });
    else if (this.#contributions.size === before) return;
    this.#sumShared();
    this.#isNew(Number.POSITIVE_INFINITY);
  }

  /** The quantile at a level, for the call with number `now` over all groups. */
  quantile(level: number, now: number): number {
    this.#refreshIfOld(now);
    return this.#table.at(level);
  }

  /** The share of calls that get longer than this. */
  shareBeyond(length: number, now: number): number {
    this.#refreshIfOld(now);
    return 1 - this.#table.levelOf(length);
  }

  /** Brings the quantiles up to date where enough has changed. */
  refreshIfMoved(now: number): void {
    if (this.#isMuch(this.#pending)) this.refresh(now);
  }

  refresh(now: number): void {
    this.#mix();
    this.#table.fill(shares);
    this.#pending = 0;
    this.#refreshedAt = now;
  }

  #refreshIfOld(now: number): void {
    if (
      this.#pending >= PENDING_MAX ||
      (now - this.#refreshedAt >= COLD_CALLS_MAX && this.evidence < COLD_EVIDENCE)
    ) {
      this.refresh(now);
    }
  }

  #isNew(lengths: number): void {
    this.#pending += lengths;
    this.#pendingForNarrower += lengths;
  }

  /** Early, when few lengths are known, every one counts. */
  #isMuch(pending: number): boolean {
    return pending * COLD_EVIDENCE >= Math.min(this.evidence, PENDING_MAX * COLD_EVIDENCE);
  }

  /** Leaves the distribution in `shares`, for a narrower group. */
  #lend(): void {
    if (this.#distribution !== undefined && !this.#isMuch(this.#pendingForNarrower)) {
      shares.set(this.#distribution);
      return;
    }
    this.#mix();
    this.#distribution ??= new Float64Array(BUCKETS);
    this.#distribution.set(shares);
    this.#pendingForNarrower = 0;
  }

  /** Leaves the distribution in `shares`: of those that come to a bucket, as many end there as have been seen to, here and among `prior` calls of the broader kind. */
  #mix(): void {
    if (this.#broader === undefined) shares.set(UNKNOWN);
    else this.#broader.#lend();
    const prior = this.#broader === undefined ? UNKNOWN_CALLS : PRIOR_CALLS;
    ended.fill(0);
    reached.fill(0);
    this.own.addTo(ended, reached);
    if (this.#shared !== undefined) addPackedSums(this.#shared, this.#sharedFactor(), ended, reached);
    let priorLeft = prior;
    let alive = 1;
    for (let i = 0; i < BUCKETS; i++) {
      const priorEnded = prior * shares[i];
      const at = priorLeft + reached[i];
      const hazard = at > WEIGHT_MIN ? Math.min(1, (priorEnded + ended[i]) / at) : 1;
      priorLeft = Math.max(0, priorLeft - priorEnded);
      shares[i] = alive * hazard;
      alive *= 1 - hazard;
    }
    shares[BUCKETS - 1] += alive;
  }

  #sharedFactor(): number {
    return this.#sharedTotal === 0 ? 0 : RETENTION ** (this.own.added - this.#sharedAt);
  }

  #sumShared(): void {
    const sums = new Float32Array(PACKED_BUCKETS);
    this.#sharedTotal = 0;
    this.#sharedAt = this.own.added;
    for (const { lengths, since } of this.#contributions.values()) {
      const factor = RETENTION ** (this.own.added - since) / SHARED_SCALE;
      this.#sharedTotal += sumPacked(lengths, factor, sums);
    }
    this.#shared = this.#contributions.size === 0 ? undefined : sums;
  }
}
