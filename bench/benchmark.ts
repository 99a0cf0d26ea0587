/** One figure of a benchmark, beside its goal where it has one. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: "µs" | "ms" | "s" | "B" | "/s" | "MB/s" | "%" | "×" | "model tokens";
  /** What `ratio` compares with. */
  readonly peer?: string;
  /** `value` ÷ the peer's: measured in the same run, round by round, their median. */
  readonly ratio?: number;
  readonly goal?: Goal;
  /** Why the figure says nothing, where it does not: then no goal is reached. */
  readonly void?: string | undefined;
  /** How far the rounds lie apart: (largest − smallest) ÷ median. Absent where there was one round. */
  readonly spread?: number | undefined;
}

/** On `ratio` or on `value`: at most or at least. */
export interface Goal {
  readonly on: "ratio" | "value";
  readonly kind: "at most" | "at least";
  readonly bound: number;
}

export interface RunOptions {
  /** Rounds in which the candidates take turns. */
  readonly rounds: number;
  /** Of one measurement of one candidate in one round. */
  readonly seconds: number;
  /** Says what is under way. */
  readonly progress: (message: string) => void;
}

export interface Benchmark {
  readonly name: string;
  run(options: RunOptions): Promise<readonly Figure[]>;
}

export function isReached({ value, ratio, goal, void: reason }: Figure): boolean | undefined {
  if (goal === undefined) return undefined;
  if (reason !== undefined) return false;
  const measured = goal.on === "ratio" ? ratio : value;
  if (measured === undefined || !Number.isFinite(measured)) return false;
  return goal.kind === "at most" ? measured <= goal.bound : measured >= goal.bound;
}
