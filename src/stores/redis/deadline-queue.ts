/** Deadlines are looked at this often: a call ends at most this much after its own. */
const TICK_MS = 20;

/** A call that ends by itself unless it is `settled` in time. */
export interface Deadline {
  settled: boolean;
  readonly atMs: number;
  readonly expire: () => void;
}

/**
 * Thousands of deadlines with one timer: all are equally long, so they end in the order in which they began. Time is `performance.now`.
 */
export class DeadlineQueue {
  readonly #lengthMs: number;
  #queue: Deadline[] = [];
  #head = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  /** `expire` is called once, unless the result has been marked as settled before. */
  begin(expire: () => void): Deadline {
    const deadline: Deadline = { settled: false, atMs: performance.now() + this.#lengthMs, expire };
    this.#queue.push(deadline);
    this.#timer ??= setTimeout(this.#tick, TICK_MS);
    return deadline;
  }

  // After a long turn of the event loop the answers may be waiting in the sockets: they come before the check, so they count.
  readonly #tick = () => void setImmediate(this.#check);

  readonly #check = () => {
    const nowMs = performance.now();
    const queue = this.#queue;
    let head = this.#head;
    while (head < queue.length && (queue[head].settled || queue[head].atMs <= nowMs)) {
      const deadline = queue[head++];
      if (deadline.settled) continue;
      deadline.settled = true;
      deadline.expire();
    }
    this.#timer = head < queue.length ? setTimeout(this.#tick, TICK_MS) : undefined;
    if (head === queue.length) {
      queue.length = 0;
      head = 0;
    } else if (head > queue.length / 2) {
      this.#queue = queue.slice(head);
      head = 0;
    }
    this.#head = head;
  };
}
