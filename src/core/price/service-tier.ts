import { BASIS_POINTS, type ModelPrice, type Rates } from "./model-price.ts";

/** What providers call the way of serving that list prices are about; `auto` is a wish, not a tier. */
const STANDARD: ReadonlySet<string> = new Set(["default", "standard", "standard_only", "auto", "on_demand"]);
/** Those with another price that there are: OpenAI's, Anthropic's, and hosts'. `fast` and `us` are Anthropic's `speed` and `inference_geo`. */
export const SERVICE_TIERS = ["flex", "priority", "scale", "batch", "fast", "us"] as const;

/** Whether calls are served in another way than the one that list prices are about. */
export const isSpecialTier = (tier: string | undefined): tier is string =>
  tier !== undefined && !STANDARD.has(tier);

/** Whether it is known what a call costs that was served so. */
export const knowsTier = (price: ModelPrice, tier: string | undefined): boolean =>
  !isSpecialTier(tier) || standardPrice(price).serviceTiers?.has(tier) === true;

/** The price of calls that are served as usual. */
export const standardPrice = (price: ModelPrice): ModelPrice => price.standard ?? price;

/** Model tokens are dearer or cheaper; what is paid by the piece is not. */
function scaled(rates: Rates, basisPoints: number): Rates {
  const times = (rate: number) => Math.round((rate * basisPoints) / BASIS_POINTS);
  return {
    input: times(rates.input),
    cachedInput: times(rates.cachedInput),
    cacheWrite: times(rates.cacheWrite),
    cacheWriteLong: times(rates.cacheWriteLong),
    audioInput: times(rates.audioInput),
    cachedAudioInput: times(rates.cachedAudioInput),
    output: times(rates.output),
    reasoning: times(rates.reasoning),
    audioOutput: times(rates.audioOutput),
    request: rates.request,
    webSearch: rates.webSearch,
  };
}

const derived = new WeakMap<ModelPrice, Map<string, ModelPrice>>();

/** What the model costs where calls are served so: the usual price where nobody knows better. `price` may be that of another tier. */
export function inServiceTier(price: ModelPrice, tier: string | undefined): ModelPrice {
  const standard = standardPrice(price);
  const basisPoints = tier === undefined ? undefined : standard.serviceTiers?.get(tier);
  if (tier === undefined || basisPoints === undefined) return standard;
  let byTier = derived.get(standard);
  if (byTier === undefined) {
    byTier = new Map();
    derived.set(standard, byTier);
  }
  let found = byTier.get(tier);
  if (found === undefined) {
    found = {
      rates: scaled(standard.rates, basisPoints),
      tiers: standard.tiers.map(({ aboveInputTokens, rates }) => ({
        aboveInputTokens,
        rates: scaled(rates, basisPoints),
      })),
      paidBasisPoints: standard.paidBasisPoints,
      standard,
    };
    byTier.set(tier, found);
  }
  return found;
}

/** The price of the dearest way of serving: which one a call gets may be the provider's to say. */
export function dearestTier(price: ModelPrice): ModelPrice {
  const standard = standardPrice(price);
  let dearest: string | undefined;
  let most = BASIS_POINTS;
  for (const [tier, basisPoints] of standard.serviceTiers ?? []) {
    if (basisPoints > most) {
      most = basisPoints;
      dearest = tier;
    }
  }
  return inServiceTier(standard, dearest);
}
