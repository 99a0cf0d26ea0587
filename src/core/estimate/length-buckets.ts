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
