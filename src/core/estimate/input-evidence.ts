/*
 * What the recorded calls of one group say about raw estimate → actual tokens. Providers add to what a body shows: a prompt of their own (a constant, often
 * more than the body), and a tokenizer of their own (a factor). So the model is actual ≈ scale × (overhead + slope × raw), from nothing but sums, which
 * can be forgotten by a factor, added to those of another gateway, and sent as plain numbers.
 *
 * With u = 100 ÷ actual and v = raw ÷ actual, the estimate ÷ actual is scale × (overhead × u + slope × v). Overhead and slope minimise its squared distance
 * from 1, in which calls far off have little weight (Huber); the scale makes its plain mean 1 (E1), which least squares alone leaves below 1, as any
 * minimum of relative errors does.
 */

/** Places in the sums: first of all calls alike, then the weighted ones of the least squares, then the squared errors of the estimates as they were made. */
const COUNT = 0;
const U = 1;
const V = 2;
const WEIGHTED_U = 3;
const WEIGHTED_V = 4;
const WEIGHTED_UU = 5;
const WEIGHTED_UV = 6;
const WEIGHTED_VV = 7;
const SQUARED_ERRORS = 8;
export const EVIDENCE_SUMS = 9;

/** Nothing but non-negative sums; see above. */
export type Evidence = Float64Array;

/** Overheads are of the order of a hundred tokens: with this unit the prior weighs them and slopes alike for prompts as long. */
export const OVERHEAD_UNIT = 100;

/** The line from raw to estimated tokens. */
export interface CalibrationLine {
  /** In `OVERHEAD_UNIT`s. */
  readonly overhead: number;
  readonly slope: number;
  readonly scale: number;
}

export const IDENTITY_LINE: CalibrationLine = { overhead: 0, slope: 1, scale: 1 };

/** A group starts as its parent says, as if that came from so many calls: enough that one odd call does not bend a line. */
const PRIOR_CALLS = 4;
/** The length of the parent's prompts: 400 tokens, where an overhead and a slope are as likely to be the reason. */
const PRIOR_U = OVERHEAD_UNIT / 400;
/** From this relative error on a call counts in the least squares as its root only: beyond ordinary misestimates, which lie within ± 20 %. */
const HUBER_ERROR = 0.3;
/** No tokenizer, and no provider's frame, is further from another than this; it keeps a line monotone. */
const SLOPE_MIN = 0.02;
const SLOPE_MAX = 50;
/** What rounding can add to a product of sums, generously. */
const ROUNDING = 1e-6;
/** A negative overhead (a frame that is smaller than ours) takes at most this share of an estimate. */
const NEGATIVE_OVERHEAD_SHARE_MAX = 0.75;

export const newEvidence = (): Evidence => new Float64Array(EVIDENCE_SUMS);

export const callsIn = (evidence: Evidence): number => evidence[COUNT] as number;

/** The raw estimate of a prompt in the middle of those seen, in relative weights: lines are known best there. */
export const middleRawTokensOf = (evidence: Evidence): number =>
  (OVERHEAD_UNIT * (evidence[V] as number)) / (evidence[U] as number);

/** Standard error of the mean of estimate ÷ actual; infinite where there is next to nothing. */
export function standardErrorOf(evidence: Evidence): number {
  const calls = callsIn(evidence);
  return calls < 2 ? Number.POSITIVE_INFINITY : Math.sqrt(evidence[SQUARED_ERRORS] as number) / calls;
}

export function scaleEvidence(evidence: Evidence, factor: number): void {
  for (let place = 0; place < EVIDENCE_SUMS; place++) evidence[place] = (evidence[place] as number) * factor;
}

export function addEvidence(to: Evidence, other: Evidence, factor: number): void {
  for (let place = 0; place < EVIDENCE_SUMS; place++) {
    to[place] = (to[place] as number) + (other[place] as number) * factor;
  }
}

/** Adds one call. `error` is how far the estimate was off as it would have been made: estimate ÷ actual − 1. */
export function addCall(evidence: Evidence, rawTokens: number, actualTokens: number, error: number): void {
  const u = OVERHEAD_UNIT / actualTokens;
  const v = rawTokens / actualTokens;
  const off = Math.abs(error);
  const weight = off <= HUBER_ERROR ? 1 : HUBER_ERROR / off;
  evidence[COUNT] = (evidence[COUNT] as number) + 1;
  evidence[U] = (evidence[U] as number) + u;
  evidence[V] = (evidence[V] as number) + v;
  evidence[WEIGHTED_U] = (evidence[WEIGHTED_U] as number) + weight * u;
  evidence[WEIGHTED_V] = (evidence[WEIGHTED_V] as number) + weight * v;
  evidence[WEIGHTED_UU] = (evidence[WEIGHTED_UU] as number) + weight * u * u;
  evidence[WEIGHTED_UV] = (evidence[WEIGHTED_UV] as number) + weight * u * v;
  evidence[WEIGHTED_VV] = (evidence[WEIGHTED_VV] as number) + weight * v * v;
  evidence[SQUARED_ERRORS] = (evidence[SQUARED_ERRORS] as number) + error * error;
}

/** The line that the evidence gives, pulled to the parent's where there is little of it. */
export function lineOf(evidence: Evidence, parent: CalibrationLine): CalibrationLine {
  const calls = callsIn(evidence);
  if (calls === 0) return parent;
  const priorOverhead = parent.overhead * parent.scale;
  const priorSlope = parent.slope * parent.scale;
  // The parent's calls are as far from the raw estimate as these: else the pull would depend on the tokenizer. But of a fixed length: what long prompts
  // are off by is the slope's, what short ones are, the overhead's.
  const uu = (evidence[WEIGHTED_UU] as number) + PRIOR_CALLS * PRIOR_U ** 2;
  const vv = (evidence[WEIGHTED_VV] as number) * (1 + PRIOR_CALLS / calls);
  const uv = evidence[WEIGHTED_UV] as number;
  const toU = (evidence[WEIGHTED_U] as number) + (uu - (evidence[WEIGHTED_UU] as number)) * priorOverhead;
  const toV = (evidence[WEIGHTED_V] as number) + (vv - (evidence[WEIGHTED_VV] as number)) * priorSlope;
  const determinant = uu * vv - uv * uv;
  const slope = Math.min(SLOPE_MAX, Math.max(SLOPE_MIN, (uu * toV - uv * toU) / determinant));
  const overhead = (toU - uv * slope) / uu;
  const estimated = overhead * (evidence[U] as number) + slope * (evidence[V] as number);
  // Clamped lines apart, the sum of ratios is positive; the bound is for those.
  const scale = (calls + PRIOR_CALLS) / Math.max(estimated + PRIOR_CALLS, calls / SLOPE_MAX);
  return { overhead, slope, scale };
}

/** The estimate of a line; positive for positive `rawTokens`. */
export function estimateOn(line: CalibrationLine, rawTokens: number): number {
  const grown = line.slope * rawTokens;
  const total = grown + line.overhead * OVERHEAD_UNIT;
  return line.scale * Math.max(total, grown * (1 - NEGATIVE_OVERHEAD_SHARE_MAX));
}

/** The evidence in plain numbers, or `undefined` where it is none: it may come from another version, or from a store that others write to. */
export function parseEvidence(sums: unknown): Evidence | undefined {
  if (!Array.isArray(sums) || sums.length !== EVIDENCE_SUMS) return undefined;
  if (!sums.every((sum) => typeof sum === "number" && Number.isFinite(sum) && sum >= 0)) return undefined;
  const evidence = Float64Array.from(sums);
  // No sums of real calls break this; a line through such would not be a number.
  const isPossible =
    callsIn(evidence) > 0 &&
    (evidence[WEIGHTED_UV] as number) ** 2 <=
      (evidence[WEIGHTED_UU] as number) * (evidence[WEIGHTED_VV] as number) * (1 + ROUNDING);
  return isPossible ? evidence : undefined;
}
