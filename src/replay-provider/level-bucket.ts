/** Far above the error of adding doubles, far below anything that is counted: a share of the limit. */
const ROUNDING = 1e-9;

/**
 * A bucket that holds one window's limit and refills without steps: what recorded traffic shows OpenAI to have. Its own arithmetic, apart from
 * Sluice's, because it is what Sluice is measured against.
 */
export class LevelBucket {
  readonly limit: number;
  readonly windowMs: number;
  #level: number;
  #atMs: number;

  /** Full at `nowMs`. */
  constructor(limit: number, windowMs: number, nowMs: number) {
    this.limit = limit;
    this.windowMs = windowMs;
    this.#level = limit;
    this.#atMs = nowMs;
  }

  /** What is there; negative after more was taken than there was. A clock that stands or steps back refills nothing. */
  levelAt(nowMs: number): number {
    if (nowMs > this.#atMs) {
      const refilled = ((nowMs - this.#atMs) * this.limit) / this.windowMs;
      this.#level = Math.min(this.limit, this.#level + refilled);
      this.#atMs = nowMs;
    }
    return this.#level;
  }

  /** Takes it, whatever is there. */
  take(amount: number, nowMs: number): void {
    this.#level = this.levelAt(nowMs) - amount;
  }

  /** How long until `amount` is there, in whole milliseconds; 0 when it is. Only of use for amounts that ever are. */
  waitMs(amount: number, nowMs: number): number {
    const missing = amount - this.levelAt(nowMs) - this.limit * ROUNDING;
    return Math.max(0, Math.ceil((missing * this.windowMs) / this.limit));
  }
}
