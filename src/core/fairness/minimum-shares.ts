/**
 * What lower priorities are owed: each waiting band below the first earns its share of everything that is served, and once that pays for its next
 * call, the call goes before higher ones. So a share of 0.05 is 5 % of all service, however much of a higher priority there is.
 */
export class MinimumShares {
  readonly #credits: number[];
  /** The largest call that was ever waiting in a band: nobody saves up more than two of those. */
  readonly #sizesMax: number[];

  constructor(bands: number) {
    this.#credits = new Array<number>(bands).fill(0);
    this.#sizesMax = new Array<number>(bands).fill(0);
  }

  /** Whether a band's call of this size goes first. */
  isOwed(band: number, size: number): boolean {
    return band > 0 && this.#credits[band] >= size;
  }

  /** Whether a band may be owed a call of any size: false is certain. */
  mayBeOwed(band: number): boolean {
    return this.#credits[band] > 0;
  }

  joined(band: number, size: number): void {
    if (size > this.#sizesMax[band]) this.#sizesMax[band] = size;
  }

  /** Nobody waits in the band any more. */
  emptied(band: number): void {
    this.#credits[band] = 0;
    this.#sizesMax[band] = 0;
  }

  /** A call of `band` was served while calls of the bands in `isWaiting` could have been. */
  served(band: number, size: number, shares: readonly number[], isWaiting: (band: number) => boolean): void {
    for (let other = 1; other < this.#credits.length; other++) {
      if (!isWaiting(other)) continue;
      const credit = this.#credits[other] + size * shares[other];
      this.#credits[other] = Math.min(credit, 2 * this.#sizesMax[other]);
    }
    this.#credits[band] = Math.max(0, this.#credits[band] - size);
  }
}
