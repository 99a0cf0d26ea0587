import type { Rates } from "../core/price/model-price.ts";
import { formatUsd } from "../core/price/usd.ts";

/** Of a rate per million, what one costs, to the nearest nano-dollar. */
const oneOf = (rate: number) => `$${formatUsd(Math.round(rate / 1_000_000))}`;

/** `input $3, cached $0.3, output $15 per million tokens, $0.01 a web search`: only what differs from the kind that it is a part of. */
export function explainRates(rates: Rates): string {
  const part = (text: string, rate: number, ...whole: readonly number[]) =>
    whole.includes(rate) ? undefined : `${text} $${formatUsd(rate)}`;
  const parts = [
    part("input", rates.input),
    part("cached", rates.cachedInput, rates.input),
    part("cache write", rates.cacheWrite, rates.input),
    part("cache write for longer", rates.cacheWriteLong, rates.cacheWrite),
    part("audio input", rates.audioInput, rates.input),
    part("cached audio", rates.cachedAudioInput, rates.audioInput, rates.cachedInput),
    part("output", rates.output),
    part("reasoning", rates.reasoning, rates.output),
    part("audio output", rates.audioOutput, rates.output),
  ];
  return [
    `${parts.filter((text) => text !== undefined).join(", ")} per million tokens`,
    ...(rates.request === 0 ? [] : [`${oneOf(rates.request)} a call`]),
    ...(rates.webSearch === 0 ? [] : [`${oneOf(rates.webSearch)} a web search`]),
  ].join(", ");
}
