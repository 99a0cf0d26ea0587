/** One more slice for a call's hold. */
export interface HoldExtension {
  /** For `ExtendRequest.step`: counts up from 1. */
  readonly step: number;
  /** Output to hold on top of what is held. */
  readonly outputTokens: number;
}

/** Extend before the hold is full: a round trip to the store takes as long as some model tokens. */
const DUE_NUMERATOR = 9;
const DUE_DENOMINATOR = 10;
/** A slice is half of what is held: a call that writes ten times its hold needs six, and holds at most two thirds more than it has written. */
const SLICE_SHARE = 2;
/** At least this much at once, or a call that held next to nothing would extend every few words: about a second of a fast model. */
const SLICE_TOKENS_MIN = 64;
/** Of a limit that is nearly used up a stream takes the rest in pieces of no less. */
const SLICE_TOKENS_LEAST = 16;

/**
 * The output that one running call holds, and when it must hold more. What is held stays at or above what has been emitted, as long as extensions are
 * granted in time, and never exceeds the call's own maximum (E5).
 *
 * One extension at a time: from `due` until `extended`, or until `unknown`, after which the same step is due again (the store knows whether it has
 * happened). After `exhausted` none is due any more: the stream is cut, or goes on without.
 */
export class GrowingHold {
  readonly #maxTokens: number;
  #heldTokens: number;
  #steps = 0;
  #next: HoldExtension | undefined;
  #isUnderWay = false;
  #isExhausted = false;
  /** Nothing more was to be had: what is held is used up to its end. */
  #isLast = false;

  /** What was held at admission (less where its limits want to be asked earlier), and the call's own maximum over all answers, where it has one: non-negative integers. */
  constructor(heldTokens: number, outputTokensMax: number | undefined) {
    this.#heldTokens = heldTokens;
    this.#maxTokens = outputTokensMax ?? Number.POSITIVE_INFINITY;
  }

  /** All output that is held, granted extensions included. */
  get heldTokens(): number {
    return this.#heldTokens;
  }

  /** The extension to ask the store for, now that so much output has been seen. */
  due(emittedTokens: number): HoldExtension | undefined {
    if (this.#isUnderWay || this.#isExhausted) return undefined;
    if (this.#next === undefined) {
      const outputTokens = this.#slice(emittedTokens);
      if (outputTokens === 0) return undefined;
      this.#next = { step: this.#steps + 1, outputTokens };
    }
    this.#isUnderWay = true;
    return this.#next;
  }

  /** The extension that was due is held. */
  extended(): void {
    if (this.#next === undefined || !this.#isUnderWay) throw new Error("no extension is under way");
    this.#heldTokens += this.#next.outputTokens;
    this.#steps = this.#next.step;
    this.#next = undefined;
    this.#isUnderWay = false;
  }

  /** Nobody knows whether the extension happened: the same one is due again. */
  unknown(): void {
    if (!this.#isUnderWay) throw new Error("no extension is under way");
    this.#isUnderWay = false;
  }

  /** The extension that was due was refused: the same step with half as much. Undefined where less would not be worth a round trip. */
  smaller(): HoldExtension | undefined {
    if (this.#next === undefined || !this.#isUnderWay) throw new Error("no extension is under way");
    const outputTokens = Math.floor(this.#next.outputTokens / 2);
    if (outputTokens < SLICE_TOKENS_LEAST) return undefined;
    this.#next = { step: this.#next.step, outputTokens };
    return this.#next;
  }

  /** The extension was refused, and so was less of it. True once, while there is something left of what is held: the next one is due when that is used up. */
  usesRest(emittedTokens: number): boolean {
    if (this.#isLast || emittedTokens >= this.#heldTokens) return false;
    this.#isLast = true;
    this.#next = undefined;
    this.#isUnderWay = false;
    return true;
  }

  /** The extension was refused, and not forced. */
  exhausted(): void {
    this.#isExhausted = true;
  }

  /** 0 while enough is held. A chunk larger than a slice is caught up with at once. */
  #slice(emittedTokens: number): number {
    let held = this.#heldTokens;
    if (this.#isLast && emittedTokens < held) return 0;
    while (held < this.#maxTokens && emittedTokens * DUE_DENOMINATOR >= held * DUE_NUMERATOR) {
      held += Math.max(SLICE_TOKENS_MIN, Math.ceil(held / SLICE_SHARE));
    }
    return Math.min(held, Math.max(this.#maxTokens, this.#heldTokens)) - this.#heldTokens;
  }
}
