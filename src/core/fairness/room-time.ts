import { CLOCK_STEP_TOLERANCE_MS } from "../limits/subject-state.ts";

/**
 * The time by which a waiting room goes: the store's clock, but where that steps back by more than limits take no notice of, it goes on. Limits move their states with
 * the clock, and who waits for them waits for as long as before (L5).
 */
export class RoomTime {
  #lastClockMs = 0;
  /** By how much it is ahead of the clock. */
  #aheadMs = 0;

  /** The room's time, now that the clock says `clockMs`. */
  at(clockMs: number): number {
    const backMs = this.#lastClockMs - clockMs;
    if (backMs > CLOCK_STEP_TOLERANCE_MS) this.#aheadMs += backMs;
    if (backMs < 0 || backMs > CLOCK_STEP_TOLERANCE_MS) this.#lastClockMs = clockMs;
    return clockMs + this.#aheadMs;
  }

  /** What the clock said at a time of the room. */
  clockAt(roomMs: number): number {
    return roomMs - this.#aheadMs;
  }
}
