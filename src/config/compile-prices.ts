import { BASIS_POINTS, completeRates, flatPrice, rateOfUsd } from "../core/price/model-price.ts";
import type { OwnPrice, PriceSettings } from "../core/price/price-book.ts";
import type { FileShape } from "./file-schema.ts";
import { type PriceShape, parseFrom } from "./price-schema.ts";

/** A price per call as a rate per million of them. */
const MILLION = 1_000_000;

const optionalRate = (usdPerMillion: number | undefined) =>
  usdPerMillion === undefined ? undefined : rateOfUsd(usdPerMillion);

/** In ten-thousandths of the usual price. */
function tierShares(
  tiers: Readonly<Record<string, number>> | undefined,
): ReadonlyMap<string, number> | undefined {
  if (tiers === undefined) return undefined;
  return new Map(Object.entries(tiers).map(([tier, times]) => [tier, Math.round(times * BASIS_POINTS)]));
}

function providerTiers(file: FileShape): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const tiers = new Map<string, ReadonlyMap<string, number>>();
  for (const [provider, shape] of Object.entries(file.providers ?? {})) {
    const shares = tierShares(shape.service_tiers);
    if (shares !== undefined) tiers.set(provider, shares);
  }
  return tiers;
}

function ownPrice(shape: PriceShape): OwnPrice {
  const rates = {
    input: rateOfUsd(shape.input),
    cachedInput: optionalRate(shape.cached_input),
    cacheWrite: optionalRate(shape.cache_write),
    output: rateOfUsd(shape.output),
    request: optionalRate(shape.request === undefined ? undefined : shape.request * MILLION),
  };
  return {
    model: shape.model,
    provider: shape.provider,
    fromMs: (shape.from === undefined ? undefined : parseFrom(shape.from)) ?? Number.NEGATIVE_INFINITY,
    price: { ...flatPrice(completeRates(rates)), serviceTiers: tierShares(shape.service_tiers) },
  };
}

/** An account's discount stands in for its provider's. */
function paidShares(file: FileShape): ReadonlyMap<string, number> {
  const paid = new Map<string, number>();
  for (const [provider, { discount: ofProvider, accounts }] of Object.entries(file.providers ?? {})) {
    for (const { name, discount: own } of accounts ?? [{ name: "main", discount: undefined }]) {
      const discount = own ?? ofProvider ?? 0;
      if (discount > 0) paid.set(`${provider}/${name}`, BASIS_POINTS - Math.round(discount * BASIS_POINTS));
    }
  }
  return paid;
}

export function compilePrices(file: FileShape): PriceSettings {
  const { unknown_price: unknown } = file;
  return {
    own: file.prices.map(ownPrice),
    paidBasisPoints: paidShares(file),
    serviceTiers: providerTiers(file),
    unknown:
      unknown === "refuse"
        ? undefined
        : flatPrice(completeRates({ input: rateOfUsd(unknown.input), output: rateOfUsd(unknown.output) })),
  };
}
