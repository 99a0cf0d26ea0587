/** Where a component gets the time from, so that tests can set it. */
export interface Clock {
  /** Epoch milliseconds of the wall: an integer; may step in either direction. */
  nowMs(): number;
}

export const systemClock: Clock = { nowMs: Date.now };
