/** Something with a deadline: its links in the list that it is in. Written by `Deadlines` only. */
export interface Timed<T> {
  deadlineMs: number;
  sooner: T | undefined;
  later: T | undefined;
  deadlines: DeadlineList<T> | undefined;
}

/** What was given the same time, so that it ends in the order in which it began. */
export interface DeadlineList<T> {
  readonly forMs: number;
  first: T | undefined;
  last: T | undefined;
  /** Fires no later than the first deadline. */
  timer: NodeJS.Timeout;
}

/** Times are rounded up to this, so that there are few lists: a fifth of what a refusal may be late (Q4). */
const GRAIN_MS = 10;
/** Beyond this a timer would fire at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1;
/** A timer counts in whole milliseconds, and may fire in the last one. */
const EARLY_MS = 1;

/**
 * Deadlines of many on a few timers: one for each length of time, of which there are as many as plans. Taking on a deadline or dropping it is a matter of
 * four links; a timer that finds nobody at its deadline is set anew. Goes by the process's own steady clock.
 */
export class Deadlines<T extends Timed<T>> {
  readonly #lists = new Map<number, DeadlineList<T>>();
  readonly #expired: (one: T) => void;

  /** `expired` is told of each that was not removed by then, when it is removed. */
  constructor(expired: (one: T) => void) {
    this.#expired = expired;
  }

  add(one: T, inMs: number): void {
    const forMs = Math.min(TIMER_MS_MAX, Math.ceil(inMs / GRAIN_MS) * GRAIN_MS);
    let list = this.#lists.get(forMs);
    if (list === undefined) {
      list = { forMs, first: undefined, last: undefined, timer: this.#timer(forMs, forMs) };
      this.#lists.set(forMs, list);
    }
    one.deadlineMs = performance.now() + forMs;
    one.deadlines = list;
    one.sooner = list.last;
    if (list.last === undefined) {
      list.first = one;
      list.timer.ref();
    } else {
      list.last.later = one;
    }
    list.last = one;
  }

  /** Does nothing where it is not in. */
  remove(one: T): void {
    const { deadlines: list, sooner, later } = one;
    if (list === undefined) return;
    if (sooner === undefined) list.first = later;
    else sooner.later = later;
    if (later === undefined) list.last = sooner;
    else later.sooner = sooner;
    one.deadlines = undefined;
    one.sooner = undefined;
    one.later = undefined;
    // Nobody's deadline need not keep a process alive; setting the timer anew for the next one would cost more than to let it fire.
    if (list.first === undefined) list.timer.unref();
  }

  /** Removes and returns all, without their deadlines. */
  clear(): readonly T[] {
    const all: T[] = [];
    for (const list of this.#lists.values()) {
      clearTimeout(list.timer);
      for (let one = list.first; one !== undefined; one = list.first) {
        this.remove(one);
        all.push(one);
      }
    }
    this.#lists.clear();
    return all;
  }

  #timer(forMs: number, inMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#fire(forMs), inMs);
  }

  #fire(forMs: number): void {
    const list = this.#lists.get(forMs);
    if (list === undefined) return;
    const nowMs = performance.now() + EARLY_MS;
    let { first } = list;
    for (; first !== undefined && first.deadlineMs <= nowMs; first = list.first) {
      this.remove(first);
      this.#expired(first);
    }
    if (first === undefined) this.#lists.delete(forMs);
    else list.timer = this.#timer(forMs, Math.max(1, first.deadlineMs - nowMs));
  }
}
