/** Soon after Redis answers again, and seldom enough to be nothing to it while it does not. */
const RETRY_MS = 250;
/** A minute of a busy gateway without a store that answers; what is beyond stays in the room until this gateway goes on under another name. */
const ABANDONED_MAX = 20_000;
/** So many are taken out at once: they are one script. */
const AT_ONCE = 64;

/**
 * Calls that nobody waits for any more and that may wait in the room all the same, since Redis has not said whether they came or left: taken out as soon as it answers, so
 * that no ghost holds up those behind it (Q5, Q7). By the name of their reservation.
 */
export class AbandonedCalls<Call> {
  readonly #takeOut: (call: Call) => Promise<unknown>;
  readonly #calls = new Map<string, Call>();
  #timer: NodeJS.Timeout | undefined;

  /** `takeOut` may reject: then it is tried again. */
  constructor(takeOut: (call: Call) => Promise<unknown>) {
    this.#takeOut = takeOut;
  }

  add(name: string, call: Call): void {
    if (this.#calls.size >= ABANDONED_MAX) return;
    this.#calls.set(name, call);
    this.#timer ??= setTimeout(() => void this.#try(), RETRY_MS).unref();
  }

  /** It has been granted, and is nobody's concern in the room any more. */
  take(name: string): Call | undefined {
    const call = this.#calls.get(name);
    this.#calls.delete(name);
    return call;
  }

  /** The room drops them itself: this gateway is another one now, or ends. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#calls.clear();
  }

  async #try(): Promise<void> {
    const some = [...this.#calls].slice(0, AT_ONCE);
    const results = await Promise.allSettled(some.map(([, call]) => this.#takeOut(call)));
    for (const [at, { status }] of results.entries()) {
      const [name, call] = some[at];
      if (status === "fulfilled" && this.#calls.get(name) === call) this.#calls.delete(name);
    }
    this.#timer = undefined;
    if (this.#calls.size > 0) this.#timer = setTimeout(() => void this.#try(), RETRY_MS).unref();
  }
}
