import type { ConditionalPrice, ModelInfo, ModelPrice as PriceFields } from "@pydantic/genai-prices";
import {
  BASIS_POINTS,
  completeRates,
  type ModelPrice,
  RATE_MAX,
  type Rates,
  rateOfUsd,
} from "../core/price/model-price.ts";
import type { DatedPrice, PriceHistory } from "../core/price/price-book.ts";

/** What a call is billed by, under the catalogue's names, with how many USD per million one there is. */
const FIELDS: Readonly<Record<keyof Rates, readonly [field: string, perMillion: number]>> = {
  input: ["input_mtok", 1],
  cachedInput: ["cache_read_mtok", 1],
  cacheWrite: ["cache_write_mtok", 1],
  cacheWriteLong: ["cache_write_1h_mtok", 1],
  audioInput: ["input_audio_mtok", 1],
  cachedAudioInput: ["cache_audio_read_mtok", 1],
  output: ["output_mtok", 1],
  reasoning: ["output_reasoning_mtok", 1],
  audioOutput: ["output_audio_mtok", 1],
  request: ["requests_kcount", 1_000],
  webSearch: ["web_searches_kcount", 1_000],
};
const KINDS = Object.entries(FIELDS) as [keyof Rates, readonly [string, number]][];
const KNOWN_FIELDS: ReadonlySet<string> = new Set(Object.values(FIELDS).map(([field]) => field));

type Field = PriceFields[string];

/** Where the field's tiers start. */
const startsOf = (field: Field): readonly number[] =>
  typeof field === "object" ? field.tiers.map(({ start }) => start) : [];

/** What the field says for an input just above `start`; `undefined` for the time before the first tier. */
function usdAbove(field: Field, start: number | undefined): number | undefined {
  if (typeof field !== "object") return field;
  if (start === undefined) return field.base;
  const sorted = [...field.tiers].sort((a, b) => a.start - b.start);
  return sorted.findLast((tier) => tier.start <= start)?.price ?? field.base;
}

function rate(name: string, usd: number, perMillion: number): number {
  const result = rateOfUsd(usd * perMillion);
  if (!(result >= 0 && result <= RATE_MAX)) throw new RangeError(`${name}: ${usd} is no price`);
  return result;
}

function ratesAbove(fields: PriceFields, start: number | undefined): Rates {
  const known: Partial<Record<keyof Rates, number>> = {};
  for (const [kind, [name, perMillion]] of KINDS) {
    const usd = usdAbove(fields[name], start);
    if (usd !== undefined) known[kind] = rate(name, usd, perMillion);
  }
  return completeRates({ ...known, input: known.input ?? 0, output: known.output ?? 0 });
}

/** The catalogue's tiers are for each kind by itself, but all go by the whole input; ours have all kinds at once. */
function priceOf(fields: PriceFields): ModelPrice {
  const starts = new Set(KINDS.flatMap(([, [name]]) => startsOf(fields[name])));
  const tiers = [...starts]
    .sort((a, b) => a - b)
    .map((start) => ({ aboveInputTokens: start, rates: ratesAbove(fields, start) }));
  return { rates: ratesAbove(fields, undefined), tiers, paidBasisPoints: BASIS_POINTS };
}

const TIME_OF_DAY = /^(\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?:Z|([+-])(\d{2}):(\d{2}))$/;
const DAY_MS = 86_400_000;

/** Milliseconds after midnight UTC. */
function timeOfDayMs(text: string): number {
  const match = TIME_OF_DAY.exec(text);
  if (match === null) throw new RangeError(`${text} is no time of day`);
  const [hours, minutes, seconds, offsetHours, offsetMinutes] = [1, 2, 3, 5, 6].map((i) =>
    Number(match[i] ?? 0),
  );
  const offset = (match[4] === "-" ? -1 : 1) * (offsetHours * 60 + offsetMinutes);
  const timeMs = ((hours * 60 + minutes - offset) * 60 + seconds) * 1_000;
  return ((timeMs % DAY_MS) + DAY_MS) % DAY_MS;
}

function datedPrice({ constraint, prices }: ConditionalPrice, isFirst: boolean): DatedPrice {
  const price = priceOf(prices);
  // The catalogue falls back to its first price where no other is in force.
  const always = { fromMs: Number.NEGATIVE_INFINITY, price };
  if (constraint === undefined || isFirst) return always;
  if ("start_date" in constraint) {
    const fromMs = Date.parse(`${constraint.start_date}T00:00:00Z`);
    if (!Number.isFinite(fromMs)) throw new RangeError(`${constraint.start_date} is no date`);
    return { fromMs, price };
  }
  const { start_time, end_time } = constraint;
  return { ...always, daily: { startMs: timeOfDayMs(start_time), endMs: timeOfDayMs(end_time) } };
}

const conditionalPrices = (model: ModelInfo): readonly ConditionalPrice[] =>
  Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }];

/**
 * A model of the catalogue as a history of prices. `undefined` for one without a price per model token: paid by the hour or the page, or listed without
 * any price at all, which says nothing. Throws `RangeError` for what is no price or no date.
 */
export function readPriceList(model: ModelInfo): PriceHistory | undefined {
  const prices = conditionalPrices(model);
  if (prices.length === 0 || prices.some(({ prices: fields }) => fields.input_mtok === undefined))
    return undefined;
  return prices.map((one, i) => datedPrice(one, i === 0));
}

/** The kinds of use that the catalogue has a price of and Sluice does not bill: what no answer of a provider counts, or no endpoint that is metered. */
export function unbilledFields(model: ModelInfo): readonly string[] {
  const fields = conditionalPrices(model).flatMap(({ prices }) => Object.keys(prices));
  return [...new Set(fields)].filter((field) => !KNOWN_FIELDS.has(field)).sort();
}
