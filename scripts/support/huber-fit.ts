/** A text or a call: how often each weight counts in it, the tokens of its frames, and what it really has. */
export interface Sample {
  readonly counts: Float64Array;
  readonly frames: number;
  readonly actual: number;
}

/** Relative errors beyond it count as their root only: frames and pictures that were told wrongly, not weights. */
const HUBER_ERROR = 0.1;
const ROUNDS = 8;
/** A ridge that holds a weight where it is. */
const FIXED = 1e9;

export function tokensOf({ counts, frames }: Sample, weights: Float64Array): number {
  let tokens = frames;
  for (let index = 0; index < weights.length; index++) {
    tokens += (counts[index] as number) * (weights[index] as number);
  }
  return tokens;
}

/** Solves a positive definite system by elimination, in place. */
function solve(rows: readonly Float64Array[], right: Float64Array): Float64Array {
  const size = right.length;
  for (let pivot = 0; pivot < size; pivot++) {
    for (let row = pivot + 1; row < size; row++) {
      const factor = rows[row]![pivot]! / rows[pivot]![pivot]!;
      if (factor === 0) continue;
      for (let column = pivot; column < size; column++) rows[row]![column]! -= factor * rows[pivot]![column]!;
      right[row]! -= factor * right[pivot]!;
    }
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let column = row + 1; column < size; column++) right[row]! -= rows[row]![column]! * right[column]!;
    right[row]! /= rows[row]![row]!;
  }
  return right;
}

/** Least relative errors with Huber's weights, held at today's weights by `ridge`. */
export function fit(
  samples: readonly Sample[],
  start: Float64Array,
  isFree: (index: number) => boolean,
  ridge: number,
): Float64Array {
  let weights = start;
  for (let round = 0; round < ROUNDS; round++) {
    const size = start.length;
    const rows = Array.from({ length: size }, () => new Float64Array(size));
    const right = new Float64Array(size);
    for (const sample of samples) {
      const { counts, frames, actual } = sample;
      const error = Math.abs(tokensOf(sample, weights) / actual - 1);
      const weight = (error <= HUBER_ERROR ? 1 : HUBER_ERROR / error) / actual ** 2;
      for (let row = 0; row < size; row++) {
        const count = counts[row]! * weight;
        if (count === 0) continue;
        for (let column = 0; column < size; column++) rows[row]![column]! += count * counts[column]!;
        right[row]! += count * (actual - frames);
      }
    }
    for (let index = 0; index < size; index++) {
      // A share of a weight, rather than an amount: small weights stand at frequent pairs.
      const hold = (isFree(index) ? ridge : FIXED) / Math.max(0.05, start[index]!) ** 2;
      rows[index]![index]! += hold;
      right[index]! += hold * start[index]!;
    }
    weights = solve(rows, right).map((one) => Math.max(0, one));
  }
  return weights;
}
