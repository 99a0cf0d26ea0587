import type { ReservationId } from "../../ports/limit-store.ts";

/** A minute of a busy gateway without a store that answers, a few MB; what is dropped beyond it ends when Redis' own expiry ends it. */
const UNANSWERED_MAX = 20_000;
/** So many are tried at once: enough to be done soon, few enough not to be what makes the store slow. */
const AT_ONCE = 64;

export const idName = ({ instance, sequence }: ReservationId): string => `${instance}:${sequence}`;

interface Kept<Step> {
  readonly step: Step;
  readonly sinceMs: number;
}

/**
 * Steps whose answer was lost: nobody knows whether Redis has done them. Each is repeated or undone (`makeGood`) as soon as Redis answers. By the name of their
 * reservation. Time is `performance.now`.
 */
export class Unanswered<Step> {
  readonly #makeGood: (step: Step) => Promise<boolean>;
  readonly #afterMs: number;
  readonly #kept = new Map<string, Kept<Step>>();
  #timer: NodeJS.Timeout | undefined;
  #isTrying = false;
  #closed = false;

  /**
   * `makeGood` is called `afterMs` after a step was added and from then on as often, until it resolves with true. It may reject: Redis is still away, and the others
   * wait as well.
   */
  constructor(makeGood: (step: Step) => Promise<boolean>, afterMs: number) {
    this.#makeGood = makeGood;
    this.#afterMs = afterMs;
  }

  get size(): number {
    return this.#kept.size;
  }

  add(id: ReservationId, step: Step): void {
    if (this.#closed || this.#kept.size >= UNANSWERED_MAX) return;
    this.#kept.set(idName(id), { step, sinceMs: performance.now() });
    this.#later(this.#afterMs);
  }

  /** Takes a step out: its caller goes on with it, or it has turned out what became of it. */
  take(id: ReservationId): Step | undefined {
    if (this.#kept.size === 0) return undefined;
    const name = idName(id);
    const kept = this.#kept.get(name);
    this.#kept.delete(name);
    return kept?.step;
  }

  /** Forgets all. */
  clear(): void {
    this.#kept.clear();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.clear();
  }

  #later(inMs: number): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#try();
    }, inMs).unref();
  }

  async #try(): Promise<void> {
    if (this.#isTrying) return;
    this.#isTrying = true;
    const untilMs = performance.now() - this.#afterMs;
    const due = [...this.#kept].filter(([, { sinceMs }]) => sinceMs <= untilMs);
    for (let i = 0; i < due.length; i += AT_ONCE) {
      const results = await Promise.allSettled(due.slice(i, i + AT_ONCE).map((one) => this.#tryOne(...one)));
      if (results.some(({ status }) => status === "rejected")) break;
    }
    this.#isTrying = false;
    if (this.#kept.size > 0) this.#later(this.#afterMs);
  }

  async #tryOne(name: string, kept: Kept<Step>): Promise<void> {
    // It may have been taken out while others were tried.
    if (this.#kept.get(name) !== kept) return;
    if ((await this.#makeGood(kept.step)) && this.#kept.get(name) === kept) this.#kept.delete(name);
  }
}
