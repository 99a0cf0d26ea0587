/**
 * What is paid for each kind of thing that a call is billed by, in nano-USD per million of them: $1 per million model tokens is 1,000,000,000.
 * Integers in [0, RATE_MAX]. Every kind has a rate: what a provider does not price apart has the rate of what it is a part of.
 */
export interface Rates {
  /** Input that was neither read from nor written to a cache, and is not audio. */
  readonly input: number;
  /** Read from the provider's cache. */
  readonly cachedInput: number;
  /** Written to the provider's cache for its usual time. */
  readonly cacheWrite: number;
  /** Written to the provider's cache for longer (Anthropic: one hour). */
  readonly cacheWriteLong: number;
  readonly audioInput: number;
  readonly cachedAudioInput: number;
  readonly output: number;
  readonly reasoning: number;
  readonly audioOutput: number;
  /** The call itself, whatever its size. */
  readonly request: number;
  /** Searches that the provider makes while it answers. */
  readonly webSearch: number;
}

/** Rates of calls with a longer input. */
export interface PriceTier {
  readonly aboveInputTokens: number;
  readonly rates: Rates;
}

/** What a model costs, at one time, for one account. */
export interface ModelPrice {
  readonly rates: Rates;
  /**
   * Ascending. The last one whose start the call's whole input (cached input included) exceeds has the rates of the *whole* call, output
   * included: that is what the providers that have tiers charge (OpenAI, Anthropic and Google for long contexts).
   */
  readonly tiers: readonly PriceTier[];
  /** What is paid of the list price, in ten-thousandths: 10,000 without a discount. */
  readonly paidBasisPoints: number;
  /** What model tokens cost that are served in another way (`flex`, `priority`), in ten-thousandths of these rates; see `service-tier.ts`. */
  readonly serviceTiers?: ReadonlyMap<string, number> | undefined;
  /** Of a price in such a tier: the usual one. */
  readonly standard?: ModelPrice | undefined;
}

/** All of a price. */
export const BASIS_POINTS = 10_000;

/** A million dollars per million model tokens: far beyond any price, and small enough that nothing overflows before it is noticed. */
export const RATE_MAX = 1_000_000 * 1_000_000_000;

const NANO = 1_000_000_000;

/**
 * The rate of a price as it is written: USD per million. Every price of up to nine decimals is exact; a longer one (a third, written out) is rounded to the nearest
 * nano-USD per million, which no call of less than two million model tokens notices.
 */
export const rateOfUsd = (usdPerMillion: number): number => Math.round(usdPerMillion * NANO);

/** Rates from those that are known: the rest is what it is a part of. */
export function completeRates(
  known: Pick<Rates, "input" | "output"> & { readonly [Kind in keyof Rates]?: number | undefined },
): Rates {
  const { input, output } = known;
  const cachedInput = known.cachedInput ?? input;
  const cacheWrite = known.cacheWrite ?? input;
  const audioInput = known.audioInput ?? input;
  return {
    input,
    cachedInput,
    cacheWrite,
    cacheWriteLong: known.cacheWriteLong ?? cacheWrite,
    audioInput,
    // Without a price of its own for cached audio there is no discount on it either.
    cachedAudioInput: known.cachedAudioInput ?? (known.audioInput === undefined ? cachedInput : audioInput),
    output,
    reasoning: known.reasoning ?? output,
    audioOutput: known.audioOutput ?? output,
    request: known.request ?? 0,
    webSearch: known.webSearch ?? 0,
  };
}

/** A price without tiers and discounts. */
export const flatPrice = (rates: Rates): ModelPrice => ({ rates, tiers: [], paidBasisPoints: BASIS_POINTS });

/** The price of a call with an input of this length. */
export function ratesFor(price: ModelPrice, inputTokens: number): Rates {
  let { rates } = price;
  for (const tier of price.tiers) {
    if (inputTokens <= tier.aboveInputTokens) break;
    rates = tier.rates;
  }
  return rates;
}

/** Whether audio in and out cost what text does: providers that have audio ask more for it, so that a price is missing. */
export const isAudioAsText = ({ rates }: ModelPrice): boolean =>
  rates.audioInput === rates.input && rates.audioOutput === rates.output;

const worst = new WeakMap<ModelPrice, ModelPrice>();

const dearest = (rates: Rates): Rates => ({
  ...rates,
  input: Math.max(
    rates.input,
    rates.cachedInput,
    rates.cacheWrite,
    rates.cacheWriteLong,
    rates.audioInput,
    rates.cachedAudioInput,
  ),
  output: Math.max(rates.output, rates.reasoning, rates.audioOutput),
});

/** The same price where all input is of the dearest kind, and all output: what a call could cost of which only its size is known. */
export function worstPrice(price: ModelPrice): ModelPrice {
  let result = worst.get(price);
  if (result === undefined) {
    const tiers = price.tiers.map(({ aboveInputTokens, rates }) => ({
      aboveInputTokens,
      rates: dearest(rates),
    }));
    result = { rates: dearest(price.rates), tiers, paidBasisPoints: price.paidBasisPoints };
    worst.set(price, result);
  }
  return result;
}
