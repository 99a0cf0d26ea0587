import { TEXT_CLASS, TEXT_CLASS_BITS, TEXT_CLASSES, type TextClassName } from "./text-classes.ts";
import {
  type CodeClass,
  NEXT_TEXT_STATES,
  RUN_STATES_MIN,
  runAfter,
  TEXT_START,
  TEXT_STATES,
  TEXT_STEPS,
  type TextState,
} from "./text-states.ts";

/** Model tokens of a text, from what its neighbouring characters are: one addition a character. */
export interface TextWeights {
  /** Tokens that a character adds, by the index of its step. */
  readonly steps: Float64Array;
}

/** Classes of ASCII characters: what follows what matters for them; for all others only what they are. */
const ASCII_CLASSES = ["space", "newline", "lower", "upper", "digit", "punctuation"] as const;
type AsciiClass = (typeof ASCII_CLASSES)[number];

/** Tokens for a character after a space, a line end, a lower-case letter, an upper-case letter, a digit, a punctuation mark. */
type AfterEach = readonly [number, number, number, number, number, number];

export interface TextWeightsSpec {
  readonly ascii: Readonly<Record<AsciiClass, AfterEach>>;
  /** Tokens for an ASCII character that begins a text: at least one, when the text is a word. */
  readonly start: Readonly<Record<AsciiClass, number>>;
  /** Tokens for a character of a run that is code, and for the one that shows that it is, after each of them. */
  readonly code: Readonly<Record<CodeClass, Readonly<Partial<Record<CodeClass, number>>>>>;
  /** Tokens a character of the other classes. */
  readonly other: Readonly<Record<Exclude<TextClassName, AsciiClass>, number>>;
}

const isAscii = (name: TextClassName): name is AsciiClass => TEXT_CLASS[name] < ASCII_CLASSES.length;

function stepTokens(spec: TextWeightsSpec, state: TextState, name: TextClassName): number {
  if (!isAscii(name)) return spec.other[name];
  const { previous } = state;
  if (previous === undefined) return spec.start[name];
  if (runAfter(state, name) === "code") return spec.code[name as CodeClass][previous as CodeClass] as number;
  const after: readonly number[] = spec.ascii[name];
  // Behind a letter of another script ASCII continues as behind a lower-case letter.
  return after[TEXT_CLASS[previous]] ?? (after[TEXT_CLASS.lower] as number);
}

export function textWeights(spec: TextWeightsSpec): TextWeights {
  const steps = new Float64Array(TEXT_STEPS);
  for (const [number, state] of TEXT_STATES.entries()) {
    for (const name of Object.keys(TEXT_CLASS) as TextClassName[]) {
      steps[(number << TEXT_CLASS_BITS) | TEXT_CLASS[name]] = stepTokens(spec, state, name);
    }
  }
  return { steps };
}

/**
 * Texts up to this length are read in full: at about 1 ns a character that is 65 µs. Of longer ones as much is read in
 * evenly spread pieces, so that one huge string costs no more than one long one (E4).
 */
const FULL_CHARS_MAX = 65_536;
/** Length of a piece: long enough that its cut ends (one token or so) vanish. */
const PIECE_CHARS = 1_024;

/*
 * Reading a string's code units one by one costs three to four times as much as copying them all into an array first (measured, Node 24), except for short
 * ones. Nothing is kept here between calls.
 */
const UNITS = new Uint16Array(FULL_CHARS_MAX);
const UNIT_BYTES = Buffer.from(UNITS.buffer);
const COPIED_CHARS_MIN = 64;
/** Not as they were imported: V8 folds only a module's own constants, which makes the scan a tenth faster (measured, Node 24). */
const CLASS_BITS = TEXT_CLASS_BITS;
const RUN_MIN = RUN_STATES_MIN;
/** The copy is little-endian, the array as the machine is. */
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Counts the tokens of texts as they come; a text may come in pieces (the deltas of a stream) and counts as if it came at once.
 * Time is linear up to 65,536 code units a piece and constant beyond. Any string is accepted, lone surrogates included.
 */
export class TextTokenCounter {
  readonly #steps: Float64Array;
  #tokens = 0;
  /** Shifted, as in an index. */
  #state: number = TEXT_START;

  constructor(weights: TextWeights) {
    this.#steps = weights.steps;
  }

  /** Estimated tokens so far: a real number, not rounded. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Tokens that have no text: frames, images. */
  addTokens(tokens: number): void {
    this.#tokens += tokens;
  }

  /** The next text does not continue the last. */
  breakText(): void {
    this.#state = TEXT_START;
  }

  /** Counts `text` from `from` to `to` as the continuation of what came before. */
  addText(text: string, from = 0, to = text.length): void {
    const length = to - from;
    if (length <= FULL_CHARS_MAX) {
      this.#tokens += this.#read(text, from, to);
      return;
    }
    const pieces = FULL_CHARS_MAX / PIECE_CHARS;
    let tokens = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const start = from + Math.floor((piece * (length - PIECE_CHARS)) / (pieces - 1));
      tokens += this.#read(text, start, start + PIECE_CHARS);
    }
    this.#tokens += tokens * (length / FULL_CHARS_MAX);
  }

  #read(text: string, from: number, to: number): number {
    if (to - from < COPIED_CHARS_MIN || !IS_LITTLE_ENDIAN) return this.#readString(text, from, to);
    const piece = from === 0 && to === text.length ? text : text.slice(from, to);
    return this.#readUnits(UNIT_BYTES.write(piece, 0, "utf16le") >> 1);
  }

  #readUnits(length: number): number {
    // Tables in locals: a tenth faster in a text of both kinds (measured, Node 24).
    const steps = this.#steps;
    const classes = TEXT_CLASSES;
    const next = NEXT_TEXT_STATES;
    const units = UNITS;
    let state = this.#state;
    // Two sums, as each addition would wait for the one before it: a third faster.
    let even = 0;
    let odd = 0;
    let index = 0;
    while (index < length) {
      if (state < RUN_MIN) {
        // In words the state is the class, so that no step waits for the one before it: twice as fast as step by step.
        for (; index + 1 < length; index += 2) {
          const first = classes[units[index] as number] as number;
          const second = classes[units[index + 1] as number] as number;
          const step = state | first;
          const nextStep = (first << CLASS_BITS) | second;
          if (((next[step] as number) | (next[nextStep] as number)) >= RUN_MIN) break;
          even += steps[step] as number;
          odd += steps[nextStep] as number;
          state = second << CLASS_BITS;
        }
        if (index >= length) break;
      }
      // One step, and all of a run that it begins or goes on with.
      do {
        const step = state | (classes[units[index++] as number] as number);
        even += steps[step] as number;
        state = next[step] as number;
      } while (index < length && state >= RUN_MIN);
    }
    this.#state = state;
    return even + odd;
  }

  #readString(text: string, from: number, to: number): number {
    const steps = this.#steps;
    let state = this.#state;
    let tokens = 0;
    for (let index = from; index < to; index++) {
      const step = state | (TEXT_CLASSES[text.charCodeAt(index)] as number);
      tokens += steps[step] as number;
      state = NEXT_TEXT_STATES[step] as number;
    }
    this.#state = state;
    return tokens;
  }
}
