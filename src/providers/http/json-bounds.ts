const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
/** `[` and `{` differ in this bit only, as do `]` and `}`. */
const BRACE_BIT = 0x20;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** So many bytes of a string are looked at one by one before the runtime's search takes over: a call of it costs as much. */
const SHORT_STRING_BYTES = 40;

export interface JsonBounds {
  readonly depthMax: number;
  /** Of elements and members in all: the memory that they take once parsed is many times their bytes. */
  readonly valuesMax: number;
}

/** Which bound brackets and commas outside texts are over, if any. For JSON exact; of anything else it says something. Stops at the first such place. */
export function jsonOverBounds(
  bytes: Buffer,
  { depthMax, valuesMax }: JsonBounds,
): keyof JsonBounds | undefined {
  const length = bytes.length;
  let depth = 0;
  let values = 1;
  let index = 0;
  while (index < length) {
    const byte = bytes[index] as number;
    if (byte === QUOTE) {
      index = endOfString(bytes, index + 1);
      continue;
    }
    const bracket = byte | BRACE_BIT;
    if (byte === COMMA) {
      values++;
      if (values > valuesMax) return "valuesMax";
    } else if (bracket === OPEN) {
      depth++;
      if (depth > depthMax) return "depthMax";
    } else if (bracket === CLOSE) depth--;
    index++;
  }
  return undefined;
}

/** Offset behind the closing quote of the string of which `from` is the first byte; the length where it has none. */
function endOfString(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const near = Math.min(bytes.length, at + SHORT_STRING_BYTES);
    while (at < near) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) return at + 1;
      at += byte === BACKSLASH ? 2 : 1;
    }
    if (at >= bytes.length) return bytes.length;
    const quote = bytes.indexOf(QUOTE, at);
    if (quote === -1) return bytes.length;
    let backslashes = 0;
    while (quote - 1 - backslashes >= at && bytes[quote - 1 - backslashes] === BACKSLASH) backslashes++;
    at = quote + 1;
    if (backslashes % 2 === 0) return at;
  }
}
