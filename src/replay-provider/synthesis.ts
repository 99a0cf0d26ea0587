import type { Seed } from "./synthetic-text.ts";

/** The body of a call, as far as every endpoint agrees on it. */
export interface CallBody extends Readonly<Record<string, unknown>> {
  readonly model: string;
}

/** What a synthesised answer is made from. */
export interface Synthesis {
  readonly body: CallBody;
  readonly seed: Seed;
  readonly inputTokens: number;
  /** Replaces the length that follows from the seed; the call's own maximum still holds. */
  readonly outputTokens: number | undefined;
}

/** When the synthesised answers were made: fixed, so that the same request gets the same bytes. */
export const SYNTHETIC_EPOCH_S = 1_750_000_000;
