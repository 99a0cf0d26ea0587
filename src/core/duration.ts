const SECOND_MS = 1_000;
const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400 * SECOND_MS],
  ["h", 3_600 * SECOND_MS],
  ["m", 60 * SECOND_MS],
  ["s", SECOND_MS],
];

/** A whole number of milliseconds in one unit, as a configuration has it: `60000` → `1m`, `90000` → `90s`, `1500` → `1500ms`. */
export function exactDuration(ms: number): string {
  for (const [unit, size] of UNITS) if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}

/** What has passed, as `roughDuration` has it: to the next second, up or down. */
export const passedDuration = (ms: number): string =>
  roughDuration(ms < SECOND_MS ? Math.floor(ms) : Math.round(ms / SECOND_MS) * SECOND_MS);

/** `90000` → `1m30s`: at most the two largest units, since nobody waits 1d0h3m7s to the second; below a second, milliseconds. */
export function roughDuration(ms: number): string {
  if (ms < SECOND_MS) return `${ms}ms`;
  const parts: string[] = [];
  let rest = Math.ceil(ms / SECOND_MS) * SECOND_MS;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join("");
}
