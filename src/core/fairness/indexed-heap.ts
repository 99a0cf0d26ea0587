/** Numbers for items that are in heaps. A heap keeps these small integers and not the items, so that the collector finds nothing to follow in it, and nothing to note when it is changed. */
export class Slots<T> {
  readonly #items: (T | undefined)[] = [];
  readonly #free: number[] = [];

  /** The item has the number until it is given back. */
  take(item: T): number {
    const slot = this.#free.pop() ?? this.#items.length;
    this.#items[slot] = item;
    return slot;
  }

  /** The item must not be in a heap any more. */
  give(slot: number): void {
    this.#items[slot] = undefined;
    this.#free.push(slot);
  }

  item(slot: number): T {
    return this.#items[slot] as T;
  }
}

/** Where each item stands in the heap that it is in: one for all heaps of which an item is in one at most. */
export class HeapPlaces {
  /** By slot, its index in the heap + 1; 0 while it is in none. */
  at = new Int32Array(16);

  has(slot: number): boolean {
    return slot < this.at.length && this.at[slot] !== 0;
  }

  grow(slot: number): void {
    const grown = new Int32Array(2 * slot + 2);
    grown.set(this.at);
    this.at = grown;
  }
}

/** Children a node: fewer levels, and the keys and ties of siblings beside each other in memory. */
const ARITY = 4;
/** So much room a heap has at first. */
const SIZE_MIN = 8;

const NO_SLOTS = new Int32Array(0);
const NO_KEYS = new Float64Array(0);

/** Where `next` keeps what may come next: one for all, so that looking leaves nothing behind. */
const OPEN: number[] = [];

/** A min-heap whose items can be moved and taken out from anywhere, in O(log n). */
export class IndexedHeap<T> {
  readonly #slotsOf: Slots<T>;
  readonly #places: HeapPlaces;
  #slots = NO_SLOTS;
  /** (key, tie)*, beside each other. */
  #keys = NO_KEYS;
  #size = 0;

  constructor(slots: Slots<T>, places = new HeapPlaces()) {
    this.#slotsOf = slots;
    this.#places = places;
  }

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#size === 0 ? undefined : this.#slotsOf.item(this.#slots[0]);
  }

  /** The key of the first; infinite where there is none. */
  get firstKey(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#keys[0];
  }

  has(slot: number): boolean {
    return this.#places.has(slot);
  }

  /** Puts an item in, or moves one that is in to its new place. Of equal keys the smaller `tie` comes first. */
  put(slot: number, key: number, tie = 0): void {
    if (slot >= this.#places.at.length) this.#places.grow(slot);
    const place = this.#places.at[slot];
    if (place !== 0) {
      this.#settle(slot, key, tie, place - 1);
      return;
    }
    if (this.#size === this.#slots.length) this.#grow();
    this.#size += 1;
    this.#settle(slot, key, tie, this.#size - 1);
  }

  /** Does nothing where the item is not in. */
  remove(slot: number): void {
    if (!this.#places.has(slot)) return;
    const index = this.#places.at[slot] - 1;
    this.#places.at[slot] = 0;
    this.#size -= 1;
    const last = this.#size;
    if (index !== last) {
      this.#settle(this.#slots[last], this.#keys[2 * last], this.#keys[2 * last + 1], index);
    }
  }

  /** Adds up to `count` items to `found`, in order, without the first; changes nothing. */
  next(count: number, found: T[]): void {
    let open = 0;
    let opened = 0;
    for (let left = count; ; left--) {
      const end = Math.min(this.#size, ARITY * opened + ARITY + 1);
      for (let child = ARITY * opened + 1; child < end; child++) OPEN[open++] = child;
      if (left <= 0 || open === 0) return;
      let best = 0;
      for (let i = 1; i < open; i++) {
        const index = OPEN[i];
        if (this.#isBefore(this.#keys[2 * index], this.#keys[2 * index + 1], OPEN[best])) best = i;
      }
      opened = OPEN[best];
      OPEN[best] = OPEN[--open];
      found.push(this.#slotsOf.item(this.#slots[opened]));
    }
  }

  #grow(): void {
    const slots = new Int32Array(Math.max(SIZE_MIN, 2 * this.#size));
    slots.set(this.#slots);
    this.#slots = slots;
    const keys = new Float64Array(2 * slots.length);
    keys.set(this.#keys);
    this.#keys = keys;
  }

  #isBefore(key: number, tie: number, index: number): boolean {
    const other = this.#keys[2 * index];
    return key === other ? tie < this.#keys[2 * index + 1] : key < other;
  }

  /** Finds the place of an item whose hole is at `start`. */
  #settle(slot: number, key: number, tie: number, start: number): void {
    const slots = this.#slots;
    const keys = this.#keys;
    const { at } = this.#places;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 2;
      const other = keys[2 * parent];
      if (key === other ? tie >= keys[2 * parent + 1] : key > other) break;
      slots[index] = slots[parent];
      keys[2 * index] = other;
      keys[2 * index + 1] = keys[2 * parent + 1];
      at[slots[index]] = index + 1;
      index = parent;
    }
    for (let child = ARITY * index + 1; child < this.#size; child = ARITY * index + 1) {
      const end = Math.min(this.#size, child + ARITY);
      let least = keys[2 * child];
      for (let i = child + 1; i < end; i++) {
        const other = keys[2 * i];
        if (other < least || (other === least && keys[2 * i + 1] < keys[2 * child + 1])) {
          child = i;
          least = other;
        }
      }
      if (least > key || (least === key && keys[2 * child + 1] >= tie)) break;
      slots[index] = slots[child];
      keys[2 * index] = least;
      keys[2 * index + 1] = keys[2 * child + 1];
      at[slots[index]] = index + 1;
      index = child;
    }
    slots[index] = slot;
    keys[2 * index] = key;
    keys[2 * index + 1] = tie;
    at[slot] = index + 1;
  }
}
