/** The place of an item in one heap: made once an item and heap, so that finding it again costs nothing. */
export interface HeapNode<T> {
  readonly item: T;
  /** −1 while the item is not in the heap. Written by the heap only. */
  index: number;
}

export function heapNode<T>(item: T): HeapNode<T> {
  return { item, index: -1 };
}

/** A binary min-heap whose items can be moved and taken out from anywhere, in O(log n). */
export class IndexedHeap<T> {
  readonly #nodes: HeapNode<T>[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  /** `isBefore` is a strict order; what it looks at may only change right before `put` is called for the item. */
  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#nodes.length;
  }

  get first(): T | undefined {
    return this.#nodes[0]?.item;
  }

  /** Puts an item in, or moves one that is in to its new place. */
  put(node: HeapNode<T>): void {
    if (node.index === -1) {
      node.index = this.#nodes.length;
      this.#nodes.push(node);
      this.#up(node);
      return;
    }
    this.#up(node);
    this.#down(node);
  }

  /** Does nothing where the item is not in. */
  remove(node: HeapNode<T>): void {
    const { index } = node;
    if (index === -1) return;
    const last = this.#nodes.pop() as HeapNode<T>;
    node.index = -1;
    if (last === node) return;
    last.index = index;
    this.#nodes[index] = last;
    this.#up(last);
    this.#down(last);
  }

  /** Up to `count` items in order, without the first; changes nothing. */
  next(count: number): T[] {
    const found: T[] = [];
    const open = this.#children(0);
    while (found.length < count && open.length > 0) {
      let best = 0;
      for (let i = 1; i < open.length; i++) if (this.#isBefore(open[i].item, open[best].item)) best = i;
      const [node] = open.splice(best, 1);
      found.push(node.item);
      open.push(...this.#children(node.index));
    }
    return found;
  }

  #children(index: number): HeapNode<T>[] {
    return this.#nodes.slice(2 * index + 1, 2 * index + 3);
  }

  #up(node: HeapNode<T>): void {
    const nodes = this.#nodes;
    while (node.index > 0) {
      const parent = nodes[(node.index - 1) >> 1];
      if (!this.#isBefore(node.item, parent.item)) return;
      this.#swap(node, parent);
    }
  }

  #down(node: HeapNode<T>): void {
    const nodes = this.#nodes;
    for (;;) {
      const left = 2 * node.index + 1;
      if (left >= nodes.length) return;
      const right = left + 1;
      const child =
        right < nodes.length && this.#isBefore(nodes[right].item, nodes[left].item)
          ? nodes[right]
          : nodes[left];
      if (!this.#isBefore(child.item, node.item)) return;
      this.#swap(child, node);
    }
  }

  #swap(a: HeapNode<T>, b: HeapNode<T>): void {
    const { index } = a;
    a.index = b.index;
    b.index = index;
    this.#nodes[a.index] = a;
    this.#nodes[b.index] = b;
  }
}
