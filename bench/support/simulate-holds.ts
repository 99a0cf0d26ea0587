import { GrowingHold } from "../../src/core/estimate/growing-hold.ts";
import { OutputCalibration, type OutputGroup } from "../../src/core/estimate/output-quantile.ts";
import type { RunningOutput } from "../../src/core/estimate/running-output.ts";
import { WritingSpeed } from "../../src/core/estimate/writing-speed.ts";
import { EventQueue } from "./event-queue.ts";

/** A call as recorded. */
export interface RecordedCall {
  readonly atSeconds: number;
  readonly group: OutputGroup;
  readonly inputTokensEstimated: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly outputTokensMax: number | undefined;
}

/** How an answer takes its time. All 0: every outcome is known before the next call. */
export interface Pace {
  readonly firstTokenSeconds: number;
  readonly tokenSeconds: number;
  /** Whether what has been written is seen before the end. */
  readonly isStreamed: boolean;
  /** How much faster or slower calls are than each other: the standard deviation of the logarithm of their speed. */
  readonly speedSpread: number;
}

export interface HoldResult {
  /** Share of calls whose hold at admission covered their total. */
  readonly coverage: number;
  /** The least share in any `WINDOW_CALLS` in a row; of all where there are fewer. */
  readonly coverageMin: number;
  /** Held at admission ÷ used, input and output, summed. */
  readonly heldShare: number;
  /** The same for the output alone. */
  readonly heldOutputShare: number;
  /** What was held at most, extensions included, ÷ used. */
  readonly peakShare: number;
  readonly extensionsPerCall: number;
  /** The largest sum, over the calls open at one time, of what they will use beyond their holds, in model tokens. */
  readonly exposureMax: number;
}

/** What the policies under comparison hold; `undefined` stands for the calibrated hold. */
export type FixedHold = ((call: RecordedCall) => number) | undefined;

/** E2 is over any so many calls in a row. */
export const WINDOW_CALLS = 2_000;
/** How often one thinks of calls of which nothing is seen, as the engine does. */
const LOOK_SECONDS = 1;
/** Held while nothing at all is known, as the configuration's default. */
const OUTPUT_DEFAULT = 1_024;

function coverageMin(covered: readonly boolean[]): number {
  const window = Math.min(WINDOW_CALLS, covered.length);
  let inWindow = 0;
  let least = window;
  covered.forEach((isCovered, i) => {
    inWindow += Number(isCovered) - (i >= window ? Number(covered[i - window]) : 0);
    if (i >= window - 1) least = Math.min(least, inWindow);
  });
  return least / window;
}

/** Normally distributed, and the same for a call each time (Box and Muller 1958, over two numbers hashed from its time and length). */
function deviation({ atSeconds, outputTokens }: RecordedCall): number {
  const hashed = (salt: number) => {
    const mixed = Math.imul(Math.round(atSeconds * 1_000) ^ (outputTokens * salt), 2_654_435_761);
    return (Math.imul(mixed ^ (mixed >>> 15), 2_246_822_519) >>> 0) / 2 ** 32;
  };
  return Math.sqrt(-2 * Math.log(1 - hashed(7_919))) * Math.cos(2 * Math.PI * hashed(104_729));
}

class Simulation {
  readonly #calibration = new OutputCalibration();
  readonly #speed = new WritingSpeed();
  readonly #queue = new EventQueue();
  readonly #pace: Pace;
  readonly #fixed: FixedHold;
  readonly #covered: boolean[] = [];
  #used = 0;
  #usedOutput = 0;
  #held = 0;
  #heldOutput = 0;
  #peak = 0;
  #extensions = 0;
  #exposure = 0;
  #exposureMax = 0;

  constructor(pace: Pace, fixed: FixedHold) {
    this.#pace = pace;
    this.#fixed = fixed;
  }

  run(calls: readonly RecordedCall[]): HoldResult {
    for (const call of calls) {
      this.#queue.runUntil(call.atSeconds);
      this.#start(call);
    }
    this.#queue.runUntil(Number.POSITIVE_INFINITY);
    return {
      coverage: this.#covered.filter(Boolean).length / calls.length,
      coverageMin: coverageMin(this.#covered),
      heldShare: this.#held / this.#used,
      heldOutputShare: this.#heldOutput / this.#usedOutput,
      peakShare: this.#peak / this.#used,
      extensionsPerCall: this.#extensions / calls.length,
      exposureMax: this.#exposureMax,
    };
  }

  #start(call: RecordedCall): void {
    const size = this.#sizeOf(call);
    const expected = this.#calibration.expect(call.group, size);
    const output = this.#fixed?.(call) ?? expected ?? OUTPUT_DEFAULT;
    const total = call.inputTokens + call.outputTokens;
    const held = call.inputTokensEstimated + output;
    this.#covered.push(held >= total);
    this.#used += total;
    this.#usedOutput += call.outputTokens;
    this.#held += held;
    this.#heldOutput += output;
    const beyond = Math.max(0, total - held);
    this.#exposure += beyond;
    this.#exposureMax = Math.max(this.#exposureMax, this.#exposure);
    const hold = new GrowingHold(output, call.outputTokensMax);
    const running = this.#calibration.begin(call.group, size, expected);
    if (this.#pace.isStreamed) {
      if (this.#fixed === undefined) this.#follow(call, running);
      this.#extend(call, hold, output + 1);
    } else if (this.#fixed === undefined) this.#presume(call, running, call.atSeconds + LOOK_SECONDS);
    this.#at(call, call.outputTokens, () => {
      this.#exposure -= beyond;
      this.#peak += call.inputTokensEstimated + hold.heldTokens;
      if (this.#fixed !== undefined) return;
      this.#speed.learn("", call.group.model, call.outputTokens, this.#secondsTo(call, call.outputTokens));
      this.#calibration.ended(running, { inputTokens: call.inputTokens, outputTokens: call.outputTokens });
    });
  }

  /** The moments at which the calibration wants to know of a stream. */
  #follow(call: RecordedCall, running: RunningOutput): void {
    const emitted = running.nextTokens;
    if (emitted > call.outputTokens) return;
    this.#at(call, emitted, () => {
      this.#calibration.emitted(running, emitted);
      this.#follow(call, running);
    });
  }

  /** The moments at which one thinks of a call of which nothing is seen. */
  #presume(call: RecordedCall, running: RunningOutput, atSeconds: number): void {
    if (atSeconds >= call.atSeconds + this.#secondsTo(call, call.outputTokens)) return;
    this.#queue.add(atSeconds, () => {
      const written = this.#speed.writtenAfter("", call.group.model, atSeconds - call.atSeconds);
      if (running.isNews(written)) this.#calibration.presumed(running, written);
      this.#presume(call, running, atSeconds + LOOK_SECONDS);
    });
  }

  /** The moments at which a stream must extend its hold. */
  #extend(call: RecordedCall, hold: GrowingHold, emitted: number): void {
    if (emitted > call.outputTokens) return;
    this.#at(call, emitted, () => {
      if (hold.due(emitted) !== undefined) {
        hold.extended();
        this.#extensions++;
      }
      this.#extend(call, hold, Math.max(emitted + 1, Math.ceil(0.9 * hold.heldTokens)));
    });
  }

  #at(call: RecordedCall, emitted: number, happen: () => void): void {
    this.#queue.add(call.atSeconds + this.#secondsTo(call, emitted), happen);
  }

  #secondsTo(call: RecordedCall, emitted: number): number {
    const { firstTokenSeconds, tokenSeconds, speedSpread } = this.#pace;
    return firstTokenSeconds + emitted * tokenSeconds * Math.exp(speedSpread * deviation(call));
  }

  #sizeOf({ inputTokensEstimated, outputTokensMax }: RecordedCall) {
    return { inputTokens: inputTokensEstimated, outputTokensMax, answers: 1 };
  }
}

/** Lets calls run as they were recorded, with a hold for each, and compares what was held with what they used. */
export const simulateHolds = (calls: readonly RecordedCall[], pace: Pace, fixed: FixedHold): HoldResult =>
  new Simulation(pace, fixed).run(calls);
