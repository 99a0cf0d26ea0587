/** Over how many calls a miss too many is paid back: half as many hold more than they save, twice as many pay within a window of 2,000 too little. */
const PAID_BACK_CALLS = 1_000;
/** Beyond this the aim does not rise, or every hold would be one for the tail. */
const AIM_RAISE_MAX = 0.05;
/** More than can be paid back within the calls that a promise looks at is forgiven. */
const DEBT_MAX = 100;
/** So many calls covered beyond the wanted share are remembered: with them the guarantee of `OutputCalibration` becomes so much weaker. */
const CREDIT_MAX = 8;

/**
 * How many more calls than allowed have outgrown what was held for them, and how much more the next ones must be covered for that (E2).
 *
 * A call is entered with what it is expected to be: at first the allowed share of a miss, then, as it writes on, the chance that it outgrows its hold
 * given that it has come so far, at last 0 or 1. So the many short calls that end before the long ones do not look like coverage.
 */
export class CoverageDebt {
  readonly #allowed: number;
  #misses = 0;

  /** The share of calls that may be misses. */
  constructor(allowed: number) {
    this.#allowed = allowed;
  }

  /** What is expected of a running call has changed; `before` is undefined where nothing was. */
  expect(before: number | undefined, risk: number): void {
    this.#misses += risk - (before ?? this.#allowed);
  }

  /** A call is over of which `expect` was told last that it is `risk`. */
  end(risk: number | undefined, isMiss: boolean): void {
    this.expect(risk, Number(isMiss));
    this.#misses = Math.min(DEBT_MAX, Math.max(-CREDIT_MAX, this.#misses));
  }

  /** A call is over, and nobody knows what it would have been. */
  forget(risk: number | undefined): void {
    this.expect(risk, this.#allowed);
  }

  /** To be added to the wanted coverage. */
  get aimRaise(): number {
    return Math.min(AIM_RAISE_MAX, Math.max(-CREDIT_MAX, this.#misses) / PAID_BACK_CALLS);
  }
}
