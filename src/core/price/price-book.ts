import { modelName } from "../policy/call-target.ts";
import { compileGlob } from "../policy/glob.ts";
import { BASIS_POINTS, type ModelPrice } from "./model-price.ts";
import { type Dated, entryAt } from "./price-history.ts";

/** A price with the time from which it holds. */
export interface DatedPrice extends Dated {
  readonly price: ModelPrice;
}

/** The prices that a model has had and will have; see `entryAt`. */
export type PriceHistory = readonly DatedPrice[];

/** A price of the configuration. */
export interface OwnPrice extends DatedPrice {
  /** A glob. */
  readonly model: string;
  /** Sluice's name of it; absent where the price holds for all. */
  readonly provider: string | undefined;
}

/** What the configuration says of prices. */
export interface PriceSettings {
  /** In the order of the file: of two that match a model, the one whose pattern stands first counts. */
  readonly own: readonly OwnPrice[];
  /** What is paid of the catalogue's prices, in ten-thousandths, by `PROVIDER/ACCOUNT`; all of it where there is no entry. */
  readonly paidBasisPoints: ReadonlyMap<string, number>;
  /** What model tokens cost that are served in another way, in ten-thousandths of the catalogue's prices, by Sluice's name of the provider. */
  readonly serviceTiers?: ReadonlyMap<string, ReadonlyMap<string, number>> | undefined;
  /** Of models that nobody knows a price of; absent where calls of such a model are refused by limits on cost. */
  readonly unknown: ModelPrice | undefined;
}

export const NO_PRICES: PriceSettings = { own: [], paidBasisPoints: new Map(), unknown: undefined };

/** What a model costs. `assumed`: the configuration's price for models that nobody knows. */
export type Quote =
  | { readonly kind: "listed"; readonly price: ModelPrice }
  | { readonly kind: "assumed"; readonly price: ModelPrice }
  | { readonly kind: "unknown" };

/** Where limits on cost get their prices from. */
export interface PriceSource {
  /** `account` is `PROVIDER/ACCOUNT`, absent where it is not known. A look-up in a map for a model that was asked for before. */
  quote(account: string | undefined, model: string, nowMs: number): Quote;
}

/** A catalogue's prices of a model, by Sluice's name of the provider (empty where it is not known); `undefined` for one that it does not have. */
export type CatalogueLookup = (provider: string, model: string) => PriceHistory | undefined;

interface DatedQuote extends Dated {
  readonly quote: Quote;
}

/** Models come from callers: no more than this many are remembered for an account, and then none, to begin again (X3). */
const MODELS_MAX = 4_096;
/** A longer name is no model's, and patterns are not tried on it. */
const MODEL_LENGTH_MAX = 256;
const UNKNOWN: Quote = { kind: "unknown" };

interface OwnPattern {
  readonly provider: string | undefined;
  readonly matches: (model: string) => boolean;
  /** Ascending in time. */
  readonly prices: OwnPrice[];
}

/** Own prices with one pattern belong together: they are one history. */
function patternsOf(own: readonly OwnPrice[]): readonly OwnPattern[] {
  const patterns = new Map<string, OwnPattern>();
  for (const price of own) {
    const key = JSON.stringify([price.provider ?? null, price.model]);
    const pattern = patterns.get(key);
    if (pattern !== undefined) pattern.prices.push(price);
    else {
      const matches = compileGlob(modelName(price.model));
      patterns.set(key, { provider: price.provider, matches, prices: [price] });
    }
  }
  for (const { prices } of patterns.values()) prices.sort((a, b) => (a.fromMs < b.fromMs ? -1 : 1));
  return [...patterns.values()];
}

const listed = ({ fromMs, daily, price }: DatedPrice): DatedQuote => ({
  fromMs,
  daily,
  quote: { kind: "listed", price },
});

/**
 * The prices that count: the configuration's own, then the catalogue's less the account's discount, then the one for unknown models. Own prices are what is
 * paid: no discount goes off them. An own price that is not in force yet leaves the model to whatever comes after it.
 */
export class PriceBook implements PriceSource {
  readonly #settings: PriceSettings;
  readonly #catalogue: CatalogueLookup;
  readonly #patterns: readonly OwnPattern[];
  readonly #remembered = new Map<string, Map<string, readonly DatedQuote[]>>();

  constructor(settings: PriceSettings, catalogue: CatalogueLookup) {
    this.#settings = settings;
    this.#catalogue = catalogue;
    this.#patterns = patternsOf(settings.own);
  }

  quote(account: string | undefined, model: string, nowMs: number): Quote {
    return entryAt(this.#quotes(account ?? "", model), nowMs)?.quote ?? UNKNOWN;
  }

  #quotes(account: string, model: string): readonly DatedQuote[] {
    let models = this.#remembered.get(account);
    if (models === undefined) {
      models = new Map();
      this.#remembered.set(account, models);
    }
    let quotes = models.get(model);
    if (quotes === undefined) {
      quotes = this.#resolve(account, model);
      if (models.size >= MODELS_MAX) models.clear();
      models.set(model.length <= MODEL_LENGTH_MAX ? model : "", quotes);
    }
    return quotes;
  }

  /** What counts most comes last, as `entryAt` wants it. */
  #resolve(account: string, model: string): readonly DatedQuote[] {
    const { unknown, paidBasisPoints } = this.#settings;
    const assumed: readonly DatedQuote[] =
      unknown === undefined
        ? []
        : [{ fromMs: Number.NEGATIVE_INFINITY, quote: { kind: "assumed", price: unknown } }];
    if (model === "" || model.length > MODEL_LENGTH_MAX) return assumed;
    const provider = account.split("/", 1)[0];
    const paid = paidBasisPoints.get(account) ?? BASIS_POINTS;
    const serviceTiers = this.#settings.serviceTiers?.get(provider);
    const catalogue = (this.#catalogue(provider, model) ?? []).map((entry) =>
      listed({ ...entry, price: { ...entry.price, paidBasisPoints: paid, serviceTiers } }),
    );
    const own = this.#patterns
      .filter((pattern) => (pattern.provider ?? provider) === provider && pattern.matches(model))
      .reverse()
      .flatMap(({ prices }) => prices.map(listed));
    return [...assumed, ...catalogue, ...own];
  }
}
