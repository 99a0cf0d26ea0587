/** The place of an item in one heap: made once an item and heap, so that finding it again costs nothing. */
export interface HeapNode<T> {
  readonly item: T;
  /** −1 while the item is not in the heap. Written by the heap only. */
  index: number;
}

export function heapNode<T>(item: T): HeapNode<T> {
  return { item, index: -1 };
}

/** Children a node: fewer levels, and the keys of siblings beside each other in memory. */
const ARITY = 4;

/** Where `next` keeps what may come next: one for all, so that looking leaves nothing behind. */
const OPEN: number[] = [];

/** A min-heap whose items can be moved and taken out from anywhere, in O(log n). Keys are kept in the heap, so that comparing them follows no pointers. */
export class IndexedHeap<T> {
  readonly #nodes: HeapNode<T>[] = [];
  readonly #keys: number[] = [];
  readonly #ties: number[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  get first(): T | undefined {
    return this.#nodes[0]?.item;
  }

  /** The key of the first; infinite where there is none. */
  get firstKey(): number {
    return this.#nodes.length === 0 ? Number.POSITIVE_INFINITY : this.#keys[0];
  }

  /** Puts an item in, or moves one that is in to its new place. Of equal keys the smaller `tie` comes first. */
  put(node: HeapNode<T>, key: number, tie = 0): void {
    let { index } = node;
    if (index === -1) {
      index = this.#nodes.length;
      this.#nodes.push(node);
      this.#keys.push(key);
      this.#ties.push(tie);
    }
    this.#settle(node, key, tie, index);
  }

  /** Does nothing where the item is not in. */
  remove(node: HeapNode<T>): void {
    const { index } = node;
    if (index === -1) return;
    node.index = -1;
    const last = this.#nodes.pop() as HeapNode<T>;
    const key = this.#keys.pop() as number;
    const tie = this.#ties.pop() as number;
    if (last !== node) this.#settle(last, key, tie, index);
  }

  /** Adds up to `count` items to `found`, in order, without the first; changes nothing. */
  next(count: number, found: T[]): void {
    const { length } = this.#nodes;
    let open = 0;
    let opened = 0;
    for (let left = count; ; left--) {
      const end = Math.min(length, ARITY * opened + ARITY + 1);
      for (let child = ARITY * opened + 1; child < end; child++) OPEN[open++] = child;
      if (left <= 0 || open === 0) return;
      let best = 0;
      for (let i = 1; i < open; i++) {
        if (this.#isBefore(this.#keys[OPEN[i]], this.#ties[OPEN[i]], OPEN[best])) best = i;
      }
      opened = OPEN[best];
      OPEN[best] = OPEN[--open];
      found.push(this.#nodes[opened].item);
    }
  }

  #isBefore(key: number, tie: number, index: number): boolean {
    const other = this.#keys[index];
    return key === other ? tie < this.#ties[index] : key < other;
  }

  /** Finds the place of a node whose hole is at `index`. */
  #settle(node: HeapNode<T>, key: number, tie: number, start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      if (!this.#isBefore(key, tie, parent)) break;
      this.#move(parent, index);
      index = parent;
    }
    const { length } = this.#nodes;
    for (;;) {
      const first = ARITY * index + 1;
      if (first >= length) break;
      let child = first;
      const end = Math.min(length, first + ARITY);
      for (let i = first + 1; i < end; i++) {
        if (this.#isBefore(this.#keys[i], this.#ties[i], child)) child = i;
      }
      const childKey = this.#keys[child];
      if (childKey > key || (childKey === key && this.#ties[child] >= tie)) break;
      this.#move(child, index);
      index = child;
    }
    this.#nodes[index] = node;
    this.#keys[index] = key;
    this.#ties[index] = tie;
    node.index = index;
  }

  #move(from: number, to: number): void {
    const node = this.#nodes[from];
    this.#nodes[to] = node;
    this.#keys[to] = this.#keys[from];
    this.#ties[to] = this.#ties[from];
    node.index = to;
  }
}
