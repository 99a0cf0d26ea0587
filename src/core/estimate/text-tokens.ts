import { TEXT_CLASS, TEXT_CLASS_BITS, TEXT_CLASSES, type TextClassName } from "./text-classes.ts";

/** Model tokens of a text, from what its neighbouring characters are: one addition a character. */
export interface TextWeights {
  /** Tokens that a character adds, at `previous class << 4 | its class`. */
  readonly pairs: Float64Array;
}

/** Classes of ASCII characters: what follows what matters for them; for all others only what they are. */
const ASCII_CLASSES = ["space", "newline", "lower", "upper", "digit", "punctuation"] as const;
type AsciiClass = (typeof ASCII_CLASSES)[number];

/** Tokens for a character after a space, a line end, a lower-case letter, an upper-case letter, a digit, a punctuation mark. */
type AfterEach = readonly [number, number, number, number, number, number];

/** What stands before the first character of a text: no class has this number. */
const TEXT_START = (1 << TEXT_CLASS_BITS) - 1;

export interface TextWeightsSpec {
  readonly ascii: Readonly<Record<AsciiClass, AfterEach>>;
  /** Tokens for an ASCII character that begins a text: at least one, when the text is a word. */
  readonly start: Readonly<Record<AsciiClass, number>>;
  /** Tokens a character of the other classes. */
  readonly other: Readonly<Record<Exclude<TextClassName, AsciiClass>, number>>;
}

export function textWeights(spec: TextWeightsSpec): TextWeights {
  const pairs = new Float64Array(1 << (2 * TEXT_CLASS_BITS));
  for (const name of ASCII_CLASSES) {
    const after = spec.ascii[name];
    for (let previous = 0; previous < 1 << TEXT_CLASS_BITS; previous++) {
      // Behind a letter of another script ASCII continues as behind a lower-case letter.
      pairs[(previous << TEXT_CLASS_BITS) | TEXT_CLASS[name]] = after[previous] ?? after[TEXT_CLASS.lower];
    }
    pairs[(TEXT_START << TEXT_CLASS_BITS) | TEXT_CLASS[name]] = spec.start[name];
  }
  for (const [name, tokens] of Object.entries(spec.other)) {
    const cls = TEXT_CLASS[name as TextClassName];
    for (let previous = 0; previous < 1 << TEXT_CLASS_BITS; previous++) {
      pairs[(previous << TEXT_CLASS_BITS) | cls] = tokens;
    }
  }
  return { pairs };
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
/** The copy is little-endian, the array as the machine is. */
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Counts the tokens of texts as they come; a text may come in pieces (the deltas of a stream) and counts as if it came at once.
 * Time is linear up to 65,536 code units a piece and constant beyond. Any string is accepted, lone surrogates included.
 */
export class TextTokenCounter {
  readonly #pairs: Float64Array;
  #tokens = 0;
  #previous: number = TEXT_START;

  constructor(weights: TextWeights) {
    this.#pairs = weights.pairs;
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
    this.#previous = TEXT_START;
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
    const pairs = this.#pairs;
    let previous = this.#previous;
    // Two sums, as each addition would wait for the one before it: a third faster.
    let even = 0;
    let odd = 0;
    let index = 0;
    for (; index + 1 < length; index += 2) {
      const first = TEXT_CLASSES[UNITS[index] as number] as number;
      const second = TEXT_CLASSES[UNITS[index + 1] as number] as number;
      even += pairs[(previous << TEXT_CLASS_BITS) | first] as number;
      odd += pairs[(first << TEXT_CLASS_BITS) | second] as number;
      previous = second;
    }
    if (index < length) {
      const last = TEXT_CLASSES[UNITS[index] as number] as number;
      even += pairs[(previous << TEXT_CLASS_BITS) | last] as number;
      previous = last;
    }
    this.#previous = previous;
    return even + odd;
  }

  #readString(text: string, from: number, to: number): number {
    const pairs = this.#pairs;
    let previous = this.#previous;
    let tokens = 0;
    for (let index = from; index < to; index++) {
      const cls = TEXT_CLASSES[text.charCodeAt(index)] as number;
      tokens += pairs[(previous << TEXT_CLASS_BITS) | cls] as number;
      previous = cls;
    }
    this.#previous = previous;
    return tokens;
  }
}
