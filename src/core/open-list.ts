/** What `OpenList` keeps: it notes in each where it stands. */
export interface Listed {
  /** Written by the list only; -1 where it is in none. */
  place: number;
}

/**
 * What is under way, in no order. A `Set` would do the same and cost a fifth of a proxied call: it replaces its table again and again as members come and go, and V8 links
 * each old table to the next. One of them that has reached the old generation keeps all later ones in memory, and with them all that they list, until the next full
 * collection (docs/decisions/0020).
 */
export class OpenList<T extends Listed> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** Adds what is in no list. */
  add(one: T): void {
    one.place = this.#all.length;
    this.#all.push(one);
  }

  /** Does nothing where it is not in. */
  remove(one: T): void {
    const { place } = one;
    if (this.#all[place] !== one) return;
    one.place = -1;
    const last = this.#all.pop() as T;
    if (last === one) return;
    this.#all[place] = last;
    last.place = place;
  }

  /** Those that are in now. */
  all(): readonly T[] {
    return [...this.#all];
  }
}
