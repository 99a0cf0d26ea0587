/** Fewer failures in a row may be chance; each of them kept a caller waiting for the whole deadline. */
const FAILURES_MAX = 3;

/**
 * Whether a place in Redis answers. Closed: calls go through. Open, after `FAILURES_MAX` calls in a row without an answer: calls fail at once, and
 * only the owner's probes go through, so that no caller waits to find out. The first answer closes it again.
 */
export class CircuitBreaker {
  #failures = 0;

  get isOpen(): boolean {
    return this.#failures >= FAILURES_MAX;
  }

  /** Notes an answer; returns whether that closed the circuit. */
  answered(): boolean {
    const wasOpen = this.isOpen;
    this.#failures = 0;
    return wasOpen;
  }

  /** Notes a call without an answer; returns whether that opened the circuit. */
  failed(): boolean {
    this.#failures += 1;
    return this.#failures === FAILURES_MAX;
  }
}
