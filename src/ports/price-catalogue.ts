import type { PriceHistory } from "../core/price/price-book.ts";

/** List prices from somebody who keeps them up to date. */
export interface PriceCatalogue {
  /**
   * The prices that the model has had, has, and will have, before discounts (`entryAt` picks one). `undefined` for a model or provider that
   * it does not have, and for a model that is not paid per model token. `provider` is Sluice's name of it; where that is empty, any provider
   * that the model is known to be of. Never throws. May take some milliseconds for a model that was not asked for before: the caller remembers.
   */
  historyOf(provider: string, model: string): PriceHistory | undefined;
}
