/** What `OpenExchanges` keeps: it notes in each where it stands. */
export interface Listed {
  /** Written by `OpenExchanges` only; -1 where it is in none. */
  place: number;
}

/**
 * The exchanges under way, in no order. A `Set` would do the same and cost a fifth of a call: it replaces its table again and again as members come and go, and V8 links
 * each old table to the next. One of them that has reached the old generation keeps all later ones in memory, and with them every exchange that they list, until
 * the next full collection (docs/decisions/0020).
 */
export class OpenExchanges<T extends Listed> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** Which must be in none. */
  add(exchange: T): void {
    exchange.place = this.#all.length;
    this.#all.push(exchange);
  }

  /** Does nothing where it is not in. */
  remove(exchange: T): void {
    const { place } = exchange;
    if (this.#all[place] !== exchange) return;
    exchange.place = -1;
    const last = this.#all.pop() as T;
    if (last === exchange) return;
    this.#all[place] = last;
    last.place = place;
  }

  /** Those that are in now. */
  all(): readonly T[] {
    return [...this.#all];
  }
}
