import { TEXT_CLASS, TEXT_CLASS_BITS, type TextClassName } from "./text-classes.ts";

/** What a run that is code consists of: letters, digits, and single marks between them (`-` of a UUID, `+` of base64). */
const CODE_CLASSES = ["lower", "upper", "digit", "punctuation"] as const;
export type CodeClass = (typeof CODE_CLASSES)[number];

/**
 * How far a run of letters and digits is known to be code (base64, hexadecimal numbers, identifiers) rather than words: once letters and digits have changed
 * places twice. `SHA256` has changed once, `3F9A` is code, and stays it through single marks, until there is a space or a second mark. Tokenizers have merges
 * for words and names, and none for these, so that the same neighbours cost something else there.
 */
type Run = "words" | "changed" | "code";

/** What came before a character, as far as its tokens depend on it. */
export interface TextState {
  /** Class of the character before; `undefined` at the start of a text. */
  readonly previous: TextClassName | undefined;
  readonly run: Run;
}

/** Every state; its number is its place. In words the class is the state, so these come first, in the order of the classes. */
export const TEXT_STATES: readonly TextState[] = [
  ...(Object.keys(TEXT_CLASS) as TextClassName[]).map((previous) => ({ previous, run: "words" }) as const),
  { previous: undefined, run: "words" },
  ...(["lower", "upper", "digit"] as const).map((previous) => ({ previous, run: "changed" }) as const),
  ...CODE_CLASSES.map((previous) => ({ previous, run: "code" }) as const),
];

/** The index of a step, from a state to a character of a class: `state << TEXT_CLASS_BITS | class`. Length of a table of all steps. */
export const TEXT_STEPS = TEXT_STATES.length << TEXT_CLASS_BITS;

const numberOf = (previous: TextClassName | undefined, run: Run): number =>
  TEXT_STATES.findIndex((state) => state.previous === previous && state.run === run);

/** The state before the first character of a text, shifted as in an index. */
export const TEXT_START = numberOf(undefined, "words") << TEXT_CLASS_BITS;

/** States below it, shifted as in an index, are in words: the class of the character before, shifted, or the start. A power of two: of several, one `|` tells. */
export const RUN_STATES_MIN = TEXT_START + (1 << TEXT_CLASS_BITS);

const isLetter = (name: TextClassName | undefined) => name === "lower" || name === "upper";

/** What a run is after one more character. */
export function runAfter({ previous, run }: TextState, name: TextClassName): Run {
  if (name === "punctuation") return run === "code" && previous !== "punctuation" ? "code" : "words";
  if (!isLetter(name) && name !== "digit") return "words";
  if (run === "code") return "code";
  const isChange = name === "digit" ? isLetter(previous) : previous === "digit";
  if (!isChange) return run;
  return run === "changed" ? "code" : "changed";
}

function nextStates(): Uint16Array {
  const next = new Uint16Array(TEXT_STEPS);
  for (const [number, state] of TEXT_STATES.entries()) {
    for (const [name, cls] of Object.entries(TEXT_CLASS) as [TextClassName, number][]) {
      next[(number << TEXT_CLASS_BITS) | cls] = numberOf(name, runAfter(state, name)) << TEXT_CLASS_BITS;
    }
  }
  return next;
}

/** The state after each step, shifted as in an index. */
export const NEXT_TEXT_STATES: Uint16Array = nextStates();
