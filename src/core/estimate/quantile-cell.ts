import { BUCKETS, ForgettingHistogram } from "./quantile-histogram.ts";
import { QuantileTable } from "./quantile-table.ts";

/** Memory of about 500 calls: long enough for a 90 % quantile that moves by 1.3 points, short enough to follow a change within a quarter of an hour's calls. */
const RETENTION = 1 - 1 / 500;
/**
 * What the next broader group weighs, in calls. Measured on the traces of `bench/holds.ts`: 10 holds less than 20 or 50 on the short ones and the same
 * on the long ones.
 */
const PRIOR_CALLS = 10;
/** Recomputing quantiles takes some microseconds; so many new lengths in a well-known group move them by little. */
const PENDING_MAX = 16;
/** A group with less evidence than this leans on broader ones, and looks at them again after so many calls anywhere. */
const COLD_EVIDENCE = 50;
const COLD_CALLS_MAX = 64;

/** Only ever used inside one synchronous step. */
const scratch = new Float64Array(BUCKETS);

/** Evidence of another instance, as it was published: flat (bucket, amount, …), amounts in units of 1 / `SHARED_SCALE` calls. */
export type PackedCounts = readonly number[];
/** Published amounts are integers, so that their sum does not depend on the order in which they arrive. */
export const SHARED_SCALE = 16;

interface Contribution {
  readonly counts: PackedCounts;
  /** How many calls of its own the cell had seen when this came: it fades like evidence of that age. */
  readonly since: number;
}

/**
 * The lengths of one group, this instance's own and those that others published, with their quantiles ready. What the group has seen itself is
 * mixed with a little of the next broader group, whose share vanishes as evidence grows.
 */
export class QuantileCell {
  readonly own = new ForgettingHistogram(RETENTION);
  readonly #broader: QuantileCell | undefined;
  readonly #table = new QuantileTable();
  readonly #contributions = new Map<string, Contribution>();
  #shared: Float32Array | undefined;
  #sharedTotal = 0;
  /** `own.added` when `#shared` was summed up. */
  #sharedAt = 0;
  #pending = Number.POSITIVE_INFINITY;
  #refreshedAt = 0;

  constructor(broader: QuantileCell | undefined) {
    this.#broader = broader;
  }

  /** In calls, faded. */
  get evidence(): number {
    return this.own.evidence + this.#sharedTotal * this.#sharedFactor();
  }

  add(length: number): void {
    this.own.add(length);
    this.#pending++;
  }

  /** Takes published evidence as its own. */
  restore(counts: PackedCounts): void {
    this.own.addPacked(counts, SHARED_SCALE);
    this.#pending = Number.POSITIVE_INFINITY;
  }

  /** Replaces what an instance has published for this group; nothing published takes it away. */
  share(instance: string, counts: PackedCounts | undefined): void {
    const before = this.#contributions.size;
    this.#contributions.delete(instance);
    if (counts !== undefined) this.#contributions.set(instance, { counts, since: this.own.added });
    else if (this.#contributions.size === before) return;
    this.#sumShared();
    this.#pending = Number.POSITIVE_INFINITY;
  }

  /** The quantile at a level, for the call with number `now` over all groups. Needs evidence, here or in a broader group. */
  quantile(level: number, now: number): number {
    if (
      this.#pending >= PENDING_MAX ||
      (now - this.#refreshedAt >= COLD_CALLS_MAX && this.evidence < COLD_EVIDENCE)
    ) {
      this.refresh(now);
    }
    return this.#table.at(level);
  }

  /** Brings the quantiles up to date where enough has changed: early, when few lengths are known, every one counts. */
  refreshIfMoved(now: number): void {
    if (this.#pending * COLD_EVIDENCE >= Math.min(this.evidence, PENDING_MAX * COLD_EVIDENCE))
      this.refresh(now);
  }

  refresh(now: number): void {
    const total = this.#mix();
    if (total > 0) this.#table.fill(scratch, total);
    this.#pending = 0;
    this.#refreshedAt = now;
  }

  /** Leaves the mixture in `scratch`; returns its weight. */
  #mix(): number {
    let prior = 0;
    const broader = this.#broader === undefined ? 0 : this.#broader.#mix();
    if (broader > 0) {
      prior = PRIOR_CALLS;
      for (let i = 0; i < BUCKETS; i++) scratch[i] *= prior / broader;
    } else scratch.fill(0);
    this.own.addTo(scratch, 1);
    const factor = this.#sharedFactor();
    if (this.#shared !== undefined) {
      for (let i = 0; i < BUCKETS; i++) scratch[i] += this.#shared[i] * factor;
    }
    return prior + this.own.evidence + this.#sharedTotal * factor;
  }

  #sharedFactor(): number {
    return this.#sharedTotal === 0 ? 0 : RETENTION ** (this.own.added - this.#sharedAt);
  }

  #sumShared(): void {
    const sum = new Float32Array(BUCKETS);
    this.#sharedTotal = 0;
    this.#sharedAt = this.own.added;
    for (const { counts, since } of this.#contributions.values()) {
      const factor = RETENTION ** (this.own.added - since) / SHARED_SCALE;
      for (let i = 0; i < counts.length; i += 2) {
        sum[counts[i]] += counts[i + 1] * factor;
        this.#sharedTotal += counts[i + 1] * factor;
      }
    }
    this.#shared = this.#contributions.size === 0 ? undefined : sum;
  }
}
