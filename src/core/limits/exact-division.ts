/** 2^20: the largest digit for which `remainder · DIGIT + factor · digit` stays below 2^53 with a divisor below 2^32. */
const DIGIT = 1_048_576;
const DIGIT_2 = DIGIT * DIGIT;

/** Divisors must stay below this: 2^32 ms are 49 days, longer than any window. */
export const DIVISOR_MAX = 4_294_967_296;

/** The remainder of the last `multiplyDivide`: a second result without an allocation on the hot path. */
export let lastRemainder = 0;

/**
 * ⌊(a·b + carry) / divisor⌋ exactly, and the remainder in `lastRemainder`.
 * Long division in base 2^20, because a·b may need far more than the 53 bits that a double holds.
 * `a` and `b` are integers in [0, 2^53), `carry` and `divisor` integers with 0 ≤ carry < divisor < 2^32.
 * A quotient beyond 2^53 comes back as `Infinity`, which every caller caps anyway.
 */
export function multiplyDivide(a: number, b: number, carry: number, divisor: number): number {
  const whole = Math.floor(a / divisor);
  const rest = a - whole * divisor;
  const high = Math.floor(b / DIGIT_2);
  const middle = Math.floor(b / DIGIT) % DIGIT;
  const low = b % DIGIT;
  let partial = rest * high;
  let quotient = Math.floor(partial / divisor);
  let remainder = partial - quotient * divisor;
  partial = remainder * DIGIT + rest * middle;
  let digit = Math.floor(partial / divisor);
  quotient = quotient * DIGIT + digit;
  remainder = partial - digit * divisor;
  partial = remainder * DIGIT + rest * low;
  digit = Math.floor(partial / divisor);
  quotient = quotient * DIGIT + digit;
  remainder = partial - digit * divisor + carry;
  if (remainder >= divisor) {
    remainder -= divisor;
    quotient += 1;
  }
  lastRemainder = remainder;
  const total = whole * b + quotient;
  return total <= Number.MAX_SAFE_INTEGER ? total : Number.POSITIVE_INFINITY;
}
