/** Patterns are tried on models' names that come from callers; longer ones have no place in a list of prices. */
const LENGTH_MAX = 300;
/** Names are shorter, so that an open repetition can end in fewer places: 2 to the power of this. */
const NAME_BITS = 8;
/** At most 2 to the power of this many ways to read a name: some tens of milliseconds for the worst one, when it is priced first. */
const WAYS_BITS_MAX = 24;

/** A class or an escaped character: one character of a name, whatever it is. */
const ONE_CHARACTER = /\[(?:\\.|[^\]\\])*\]|\\[^1-9k]/gs;
const BACK_REFERENCE = /\\[1-9k]/;
/** What says that a group does not count, looks ahead, or looks back: its question mark repeats nothing. */
const KIND_OF_GROUP = /\(\?(?:[:=!]|<[=!]|<[^>]*>)/g;
const EXACTLY = /\{\d+\}/g;
const REPEATED_GROUP = /\)(?:[*+]|\{)/;
/** As often as it likes, within bounds or not. */
const OPEN_REPETITION = /[*+]|\{\d+,\d*\}/g;
const CHOICE = /[?|]/g;
const GROUP = /\([^()]*\)/;

/** Whether it is bound to a name's beginning in all its alternatives: else it is tried from each character on. */
function isAnchored(frame: string): boolean {
  let outside = frame;
  while (GROUP.test(outside)) outside = outside.replace(GROUP, "");
  return frame.startsWith("^") && !outside.includes("|");
}

const count = (pattern: RegExp, text: string): number => text.match(pattern)?.length ?? 0;

/**
 * Whether a regular expression takes a short time on every name of up to 256 characters, however it was meant. JavaScript tries one way after the other to read a name, so what counts is how
 * many there can be: of repetitions, and of the beginning where it is open, one for each place in the name, of options and alternatives two. Repeated groups, which multiply without bound, and references back
 * are not quick. Stricter than need be: a pattern that is refused may be harmless. Throws `SyntaxError` for what is no pattern.
 */
export function isQuickPattern(pattern: string): boolean {
  new RegExp(pattern);
  if (pattern.length > LENGTH_MAX) return false;
  const plain = pattern.replace(ONE_CHARACTER, "x");
  if (BACK_REFERENCE.test(plain)) return false;
  const groups = plain.replace(KIND_OF_GROUP, "(");
  if (REPEATED_GROUP.test(groups)) return false;
  const frame = groups.replace(EXACTLY, "");
  const places = count(OPEN_REPETITION, frame) + (isAnchored(frame) ? 0 : 1);
  return NAME_BITS * places + count(CHOICE, frame) <= WAYS_BITS_MAX;
}
