import { createHash } from "node:crypto";
import { canonicalJson, withoutIncludeUsage } from "./canonical-json.ts";

/** Short enough that tests stay fast, long enough that a stream has a middle. */
const WORDS_MIN = 12;
const WORDS_MORE = 37;

const WORDS = (
  "the a sluice gate holds water back until there is room below and then lets it pass in fair turns so that no field floods while " +
  "another stays dry every miller along the river knows when to wait why it is worth waiting how much may flow today what was " +
  "promised to whom before rain comes"
).split(" ");

/** What makes an answer the same for the same request: a stream of numbers from the hash of its body. */
export class Seed {
  /** 40 hex digits that differ between requests, for ids. */
  readonly hex: string;
  #state: number;

  constructor(hex: string) {
    this.hex = hex;
    // Xorshift never leaves 0.
    this.#state = Number.parseInt(hex.slice(0, 8), 16) || 1;
  }

  static ofBody(body: unknown): Seed {
    return new Seed(
      createHash("sha1")
        .update(canonicalJson(withoutIncludeUsage(body)))
        .digest("hex"),
    );
  }

  /** The next integer in 0 … `bound` − 1 (xorshift32). */
  below(bound: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % bound;
  }
}

export interface SyntheticText {
  /** One output token each; all but the first begin with a space. */
  readonly words: readonly string[];
  readonly text: string;
  /** The call's own maximum ended it. */
  readonly isCut: boolean;
}

/** `wordsMax` is the call's own maximum; `wordsWanted` replaces the length that follows from the seed. */
export function syntheticText(
  seed: Seed,
  wordsMax: number | undefined,
  wordsWanted: number | undefined,
): SyntheticText {
  const length = wordsWanted ?? WORDS_MIN + seed.below(WORDS_MORE);
  const count = Math.min(length, wordsMax ?? length);
  const words = Array.from({ length: count }, (_, index) => {
    const word = WORDS[seed.below(WORDS.length)]!;
    return index === 0 ? word : ` ${word}`;
  });
  return { words, text: words.join(""), isCut: count < length };
}
