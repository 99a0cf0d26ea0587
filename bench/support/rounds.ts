/** Measurements of one candidate, one a round. */
export type Rounds = readonly number[];

export function median(values: Rounds): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** (largest − smallest) ÷ median; `undefined` for a single round. */
export function spread(values: Rounds): number | undefined {
  return values.length < 2 ? undefined : (Math.max(...values) - Math.min(...values)) / median(values);
}

/** The median of the ratios of each round: what slowed a whole round down slowed both. */
export function medianRatio(values: Rounds, peers: Rounds): number {
  return median(values.map((value, round) => value / peers[round]));
}

/** Adds one round's measurement to a candidate's. */
export function note<Name>(all: Map<Name, number[]>, name: Name, value: number): void {
  const values = all.get(name);
  if (values === undefined) all.set(name, [value]);
  else values.push(value);
}
