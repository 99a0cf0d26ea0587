/** Whether a text matches. */
export type Matcher = (text: string) => boolean;

/**
 * Compiles a glob in which `*` stands for any characters, none included, and everything else for itself (upper and lower case differ; for models see `modelName`).
 * Takes time proportional to the text, whatever the pattern: the text may come from a client (X3).
 */
export function compileGlob(pattern: string): Matcher {
  const parts = pattern.split("*");
  if (parts.length === 1) return (text) => text === pattern;
  const prefix = parts[0];
  const suffix = parts[parts.length - 1];
  const middle = parts.slice(1, -1).filter((part) => part !== "");
  if (middle.length === 0 && suffix === "") return (text) => text.startsWith(prefix);
  return (text) => {
    if (!text.startsWith(prefix) || !text.endsWith(suffix)) return false;
    let from = prefix.length;
    for (const part of middle) {
      // The leftmost place is always right: it leaves the most for the parts behind it.
      const at = text.indexOf(part, from);
      if (at === -1) return false;
      from = at + part.length;
    }
    // Also where the prefix and the suffix would share characters.
    return from <= text.length - suffix.length;
  };
}
