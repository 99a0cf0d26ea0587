/** Sequence numbers in one page: 512 bytes of bits, so that a page is worth its overhead and a lone number is not too dear. */
const PAGE_SIZE = 4_096;
const WORD_BITS = 32;

interface Page {
  readonly bits: Uint32Array;
  touchedMs: number;
}

/**
 * Which of a gateway's reservations are closed: a bit each, since a gateway counts them through. Pages that nobody has
 * added to for a while are forgotten as a whole.
 */
export class ClosedSequences {
  readonly #pages = new Map<number, Page>();

  get isEmpty(): boolean {
    return this.#pages.size === 0;
  }

  add(sequence: number, nowMs: number): void {
    const number = Math.floor(sequence / PAGE_SIZE);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { bits: new Uint32Array(PAGE_SIZE / WORD_BITS), touchedMs: nowMs };
      this.#pages.set(number, page);
    }
    const bit = sequence % PAGE_SIZE;
    page.bits[bit >>> 5] |= 1 << (bit & 31);
    page.touchedMs = nowMs;
  }

  has(sequence: number): boolean {
    const page = this.#pages.get(Math.floor(sequence / PAGE_SIZE));
    if (page === undefined) return false;
    const bit = sequence % PAGE_SIZE;
    return (page.bits[bit >>> 5] & (1 << (bit & 31))) !== 0;
  }

  /** Forgets what was added before `beforeMs`, give or take the younger neighbours in a page. */
  forget(beforeMs: number): void {
    for (const [number, page] of this.#pages) if (page.touchedMs < beforeMs) this.#pages.delete(number);
  }

  *values(): Generator<number> {
    for (const [number, { bits }] of this.#pages) {
      for (let bit = 0; bit < PAGE_SIZE; bit++) {
        if ((bits[bit >>> 5] & (1 << (bit & 31))) !== 0) yield number * PAGE_SIZE + bit;
      }
    }
  }
}
