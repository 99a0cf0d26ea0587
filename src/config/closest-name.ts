/** How many single-character changes turn one text into the other (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}

/** Longer texts are nobody's slip of the finger, and the distance takes the square of the length. */
const LENGTH_MAX = 64;

const plain = (name: string) => name.toLowerCase().replace(/[-_ ]/g, "");

/** The candidate that was probably meant; `undefined` where none is near. `baseUrl` means `base_url`. */
export function closestName(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > LENGTH_MAX) return undefined;
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const away = distance(plain(name), plain(candidate));
    if (away < bestDistance) {
      best = candidate;
      bestDistance = away;
    }
  }
  // A third of the letters: "limts" is limits, "cost" is not host's neighbour by accident.
  return bestDistance <= Math.max(1, Math.floor(plain(name).length / 3)) ? best : undefined;
}
