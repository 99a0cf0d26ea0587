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

  /** Up to `count` items in order, without the first; changes nothing. */
  next(count: number): T[] {
    const found: T[] = [];
    const open: number[] = [];
    const openChildren = (index: number) => {
      const end = Math.min(this.#nodes.length, ARITY * index + ARITY + 1);
      for (let child = ARITY * index + 1; child < end; child++) open.push(child);
    };
    openChildren(0);
    while (found.length < count && open.length > 0) {
      let best = 0;
      for (let i = 1; i < open.length; i++) {
        if (this.#isBefore(this.#keys[open[i]], this.#ties[open[i]], open[best])) best = i;
      }
      const [index] = open.splice(best, 1);
      found.push(this.#nodes[index].item);
      openChildren(index);
    }
    return found;
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
