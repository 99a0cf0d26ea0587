interface Event {
  readonly atSeconds: number;
  readonly happen: () => void;
}

/** What is to happen in a simulation, in the order of time: a binary heap. */
export class EventQueue {
  readonly #heap: Event[] = [];

  add(atSeconds: number, happen: () => void): void {
    const heap = this.#heap;
    const event = { atSeconds, happen };
    let place = heap.push(event) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (heap[parent].atSeconds <= atSeconds) break;
      heap[place] = heap[parent];
      place = parent;
    }
    heap[place] = event;
  }

  /** Lets happen all that is due by then, what it adds included. */
  runUntil(seconds: number): void {
    while (this.#heap.length > 0 && this.#heap[0].atSeconds <= seconds) this.#take().happen();
  }

  #take(): Event {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let place = 0;
    for (let child = 1; child < heap.length; child = 2 * place + 1) {
      if (child + 1 < heap.length && heap[child + 1].atSeconds < heap[child].atSeconds) child++;
      if (heap[child].atSeconds >= last.atSeconds) break;
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = last;
    return first;
  }
}
