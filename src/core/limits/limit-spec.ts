/** What is counted. `cost` is in nano-USD, everything else in whole units. */
export type Meter = "requests" | "input_tokens" | "output_tokens" | "tokens" | "cost" | "concurrency";

interface LimitSpecBase {
  /** 48-bit hash of what makes a counter this one (name, scope, meter, algorithm, window), so that a changed amount keeps its count. */
  readonly id: number;
  /** The most that can be counted at once, in the meter's unit: a safe integer ≥ 0. A call that asks for more can never fit (L4). */
  readonly capacity: number;
  /** Counted and reported, never refused by. */
  readonly shadow: boolean;
}

/** Any interval of `windowMs` holds at most `capacity` (L2). A charge is counted for at most `windowMs + grainMs`. */
export interface RollingWindowSpec extends LimitSpecBase {
  readonly algorithm: "rolling_window";
  readonly windowMs: number;
  /** Length of a sub-window. */
  readonly grainMs: number;
}

/** `refill` units come back evenly over every `windowMs`; `capacity` is the burst. */
export interface TokenBucketSpec extends LimitSpecBase {
  readonly algorithm: "token_bucket";
  readonly windowMs: number;
  readonly refill: number;
}

/** Counts from one local midnight (of a day, a week, a month) to the next (L13). */
export interface CalendarWindowSpec extends LimitSpecBase {
  readonly algorithm: "calendar_window";
  /**
   * Ascending starts of periods in epoch ms, around the time of asking: the store's clock picks the one that is in force, since a
   * store knows no time zones. The last is only an end.
   */
  readonly boundariesMs: readonly number[];
}

/** At most `capacity` reservations open at once; comes back with the holder's lease (L9). */
export interface ConcurrencySpec extends LimitSpecBase {
  readonly algorithm: "concurrency";
}

/** What a store needs to know of a limit in order to decide over it. */
export type LimitSpec = RollingWindowSpec | TokenBucketSpec | CalendarWindowSpec | ConcurrencySpec;

/** A limit as it stands, seen from one moment of the store's clock. Amounts in the meter's unit. */
export interface LimitReading {
  /** Settled amounts that still count. */
  readonly used: number;
  /** Held by open reservations, or by ones whose holder died. */
  readonly held: number;
  /** `capacity − used − held`; below zero it is debt. */
  readonly remaining: number;
  /** Milliseconds until more becomes available without anybody settling; 0 when all is there or nobody can tell. */
  readonly moreInMs: number;
  /** Milliseconds until all of it is available again if nobody calls. */
  readonly fullInMs: number;
}
