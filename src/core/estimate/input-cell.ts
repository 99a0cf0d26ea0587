import {
  addCall,
  addEvidence,
  type CalibrationLine,
  callsIn,
  type Evidence,
  estimateOn,
  lineOf,
  middleRawTokensOf,
  newEvidence,
  scaleEvidence,
  standardErrorOf,
} from "./input-evidence.ts";

/** How many calls are remembered: an exponential memory. Enough that the mean of ratios scattered by ± 30 % is known to 1 %. */
const MEMORY_CALLS = 1_000;
/** Memory of the mean that tells a change; a change of 30 % shows after some ten calls. */
const RECENT_CALLS = 30;
/** A recent mean this far off, and this many standard errors, is a change: heavy tails pass three of them now and then. */
const CHANGE_ERROR_MIN = 0.05;
const CHANGE_STANDARD_ERRORS = 5;
/** What is left of the memory after a change: the calls that have shown it, more or less. */
const CALLS_AFTER_CHANGE = 10;

/** An actual so many times above or below the estimate is not believed at first: searches by the provider reach thousands, absurd counts more. */
const IMPLAUSIBLE_FACTOR = 12;
/** So many of them in a row, within `CONSISTENT_FACTOR` of each other's ratio, are a fact after all. */
const BELIEVED_RUN = 8;
const CONSISTENT_FACTOR = 2;

/** A slow reference for the alarm: a new level is old news after so many calls. */
const REFERENCE_CALLS = 5_000;
/** Until the level is known this well there is no reference. */
const REFERENCE_CALLS_MIN = 100;
const DRIFT_MIN = 0.1;
/** Three come by chance once in some hundred streams that scatter by 40 %. */
const DRIFT_STANDARD_ERRORS = 4;

export interface LevelChange {
  /** Actual ÷ raw tokens at the reference, for a prompt of a fixed length. */
  readonly before: number;
  readonly now: number;
}

/**
 * The calibration of one group: its own evidence, that of others, and the line from both. Ordinary calls are learned. One whose actual is implausible is
 * put aside; when a run of such calls agrees with itself, the memory is given up for it. When the recent mean leaves 1 for good, most of the memory is.
 */
export class InputCell {
  readonly #own: Evidence = newEvidence();
  readonly #others = new Map<string, Evidence>();
  readonly #all: Evidence = newEvidence();
  #line: CalibrationLine;
  /** Recent mean of estimate ÷ actual − 1, and how many calls it is from. */
  #recentError = 0;
  #recentCalls = 0;
  /** Calls put aside, and the mean logarithm of their actual ÷ estimate. */
  #aside: Evidence | undefined;
  #asideLog = 0;
  /** Its level for a prompt of one length, and the standard error with which that was known. */
  #reference: { readonly rawTokens: number; level: number; error: number } | undefined;

  constructor(parent: CalibrationLine) {
    this.#line = parent;
  }

  get line(): CalibrationLine {
    return this.#line;
  }

  /** Calls remembered, others' included; fades as they do. */
  get calls(): number {
    return callsIn(this.#all);
  }

  get own(): Evidence {
    return this.#own;
  }

  /** `rawTokens` and `actualTokens` are positive and finite. `false`: put aside, nothing learned. */
  learn(rawTokens: number, actualTokens: number, parent: CalibrationLine): boolean {
    const ratio = estimateOn(this.#line, rawTokens) / actualTokens;
    if (ratio > IMPLAUSIBLE_FACTOR || ratio < 1 / IMPLAUSIBLE_FACTOR) {
      return this.#putAside(rawTokens, actualTokens, ratio, parent);
    }
    this.#dropAside();
    const error = ratio - 1;
    this.#forget(1 - 1 / MEMORY_CALLS);
    addCall(this.#own, rawTokens, actualTokens, error);
    this.#noticeChange(error);
    this.refit(parent);
    this.#followReference();
    return true;
  }

  /** Evidence of another gateway in place of what it gave before; none takes it away. `refit` makes it count. */
  absorb(instance: string, evidence: Evidence | undefined): void {
    if (evidence === undefined) this.#others.delete(instance);
    else this.#others.set(instance, evidence);
  }

  /** The change since it was last told, where there is one; asking again tells nothing until the level moves once more. */
  takeChange(): LevelChange | undefined {
    const reference = this.#reference;
    if (reference === undefined) return undefined;
    const now = this.#levelAt(reference.rawTokens);
    const before = reference.level;
    const moved = Math.abs(now / before - 1);
    const error = standardErrorOf(this.#all);
    if (moved <= DRIFT_MIN || moved <= DRIFT_STANDARD_ERRORS * Math.hypot(error, reference.error))
      return undefined;
    reference.level = now;
    // What was told was told: where it was known badly, it is told again when it is known better.
    reference.error = 0;
    return { before, now };
  }

  #levelAt(rawTokens: number): number {
    return estimateOn(this.#line, rawTokens) / rawTokens;
  }

  #followReference(): void {
    const reference = this.#reference;
    if (reference !== undefined) {
      reference.level += (this.#levelAt(reference.rawTokens) - reference.level) / REFERENCE_CALLS;
    } else if (callsIn(this.#all) >= REFERENCE_CALLS_MIN) {
      const rawTokens = middleRawTokensOf(this.#all);
      this.#reference = {
        rawTokens,
        level: this.#levelAt(rawTokens),
        error: standardErrorOf(this.#all),
      };
    }
  }

  #putAside(rawTokens: number, actualTokens: number, ratio: number, parent: CalibrationLine): boolean {
    const log = Math.log(ratio);
    if (Math.abs(log - this.#asideLog) > Math.log(CONSISTENT_FACTOR)) this.#dropAside();
    this.#aside ??= newEvidence();
    const calls = callsIn(this.#aside);
    this.#asideLog += (log - this.#asideLog) / (calls + 1);
    addCall(this.#aside, rawTokens, actualTokens, 0);
    if (calls + 1 < BELIEVED_RUN) return false;
    this.#own.set(this.#aside);
    this.#others.clear();
    this.#dropAside();
    this.#recentError = 0;
    this.#recentCalls = 0;
    this.refit(parent);
    return true;
  }

  #dropAside(): void {
    this.#aside = undefined;
    this.#asideLog = 0;
  }

  #noticeChange(error: number): void {
    this.#recentCalls = Math.min(RECENT_CALLS, this.#recentCalls + 1);
    this.#recentError += (error - this.#recentError) / this.#recentCalls;
    const off = Math.abs(this.#recentError);
    if (off < CHANGE_ERROR_MIN || this.#recentCalls < CALLS_AFTER_CHANGE) return;
    const calls = callsIn(this.#all);
    if (calls < 2 * RECENT_CALLS) return;
    // An exponential mean over n has the variance of one over 2n.
    const recentStandardError = standardErrorOf(this.#all) * Math.sqrt(calls / (2 * this.#recentCalls));
    if (off < CHANGE_STANDARD_ERRORS * recentStandardError) return;
    this.#forget(CALLS_AFTER_CHANGE / calls);
    this.#recentError = 0;
    this.#recentCalls = 0;
  }

  /** Others' evidence fades with ours: a gateway that is gone publishes no more. */
  #forget(factor: number): void {
    scaleEvidence(this.#own, factor);
    for (const evidence of this.#others.values()) scaleEvidence(evidence, factor);
  }

  /** Draws the line again: from all evidence, pulled to the parent's. */
  refit(parent: CalibrationLine): void {
    const all = this.#all;
    all.fill(0);
    for (const evidence of this.#others.values()) addEvidence(all, evidence, 1);
    // A hundred gateways know no more of today than one memory holds.
    if (callsIn(all) > MEMORY_CALLS) scaleEvidence(all, MEMORY_CALLS / callsIn(all));
    addEvidence(all, this.#own, 1);
    this.#line = lineOf(all, parent);
  }
}
