/**
 * Classes of UTF-16 code units that tokenizers treat alike. A class is a small integer, so that a pair of neighbours is an index
 * into a table of 16 × 16 weights.
 */
export const TEXT_CLASS = {
  space: 0,
  newline: 1,
  lower: 2,
  upper: 3,
  digit: 4,
  punctuation: 5,
  /** Latin letters beyond ASCII. */
  accented: 6,
  cyrillic: 7,
  /** Greek, Armenian, Hebrew, Arabic and their neighbours, Georgian. */
  eastern: 8,
  /** Indic, Thai, Burmese, Khmer. */
  southern: 9,
  han: 10,
  hangul: 11,
  /** Half of a character beyond the basic plane (emoji, old scripts), or a lone surrogate. */
  surrogate: 12,
  /** Typographic punctuation and symbols. */
  symbol: 13,
  /** Scripts that tokenizers have hardly seen, and break into bytes: Ethiopic, Lao, Tibetan, Cherokee, Canadian, Yi. */
  rare: 14,
} as const;

export type TextClassName = keyof typeof TEXT_CLASS;

/** Room for pairs: the next power of two above the number of classes, so that the index is a shift. */
export const TEXT_CLASS_BITS = 4;

/** First code unit of each range and its class, ascending. Blocks as of Unicode 15; coarse on purpose. */
const RANGES: readonly (readonly [firstCodeUnit: number, name: TextClassName])[] = [
  [0x0000, "space"],
  [0x000a, "newline"],
  [0x000b, "space"],
  [0x000d, "newline"],
  [0x000e, "space"],
  [0x0021, "punctuation"],
  [0x0030, "digit"],
  [0x003a, "punctuation"],
  [0x0041, "upper"],
  [0x005b, "punctuation"],
  [0x0061, "lower"],
  [0x007b, "punctuation"],
  [0x007f, "space"],
  [0x00a1, "symbol"],
  [0x00c0, "accented"],
  [0x0370, "eastern"],
  [0x0400, "cyrillic"],
  [0x0530, "eastern"],
  [0x0900, "southern"],
  [0x0e80, "rare"],
  [0x1000, "southern"],
  [0x10a0, "eastern"],
  [0x1100, "hangul"],
  [0x1200, "rare"],
  [0x1780, "southern"],
  [0x1800, "rare"],
  [0x1e00, "accented"],
  [0x1f00, "eastern"],
  [0x2000, "symbol"],
  [0x2c00, "rare"],
  [0x3000, "han"],
  [0x3130, "hangul"],
  [0x3190, "han"],
  [0xa000, "rare"],
  [0xac00, "hangul"],
  [0xd800, "surrogate"],
  [0xe000, "symbol"],
  [0xf900, "han"],
  [0xfb00, "eastern"],
  [0xfe00, "symbol"],
  [0xfe70, "eastern"],
  [0xff00, "han"],
];

function classTable(): Uint8Array {
  const table = new Uint8Array(0x10000);
  for (const [index, [first, name]] of RANGES.entries()) {
    const next = RANGES[index + 1];
    table.fill(TEXT_CLASS[name], first, next === undefined ? 0x10000 : next[0]);
  }
  return table;
}

/** The class of every code unit: 64 kB, so that no text needs a branch for its script. */
export const TEXT_CLASSES: Uint8Array = classTable();
