import { join } from "node:path";
import { PROVIDER_FORMATS } from "../compose.ts";
import { DEMO_DIRECTORY } from "../config/demo-settings.ts";
import type { Settings } from "../config/settings.ts";
import { modelName } from "../core/policy/call-target.ts";
import { BASIS_POINTS, type ModelPrice, type Rates } from "../core/price/model-price.ts";
import { type DatedPrice, NO_PRICES, PriceBook, type Quote } from "../core/price/price-book.ts";
import { entryAt } from "../core/price/price-history.ts";
import { usdOfNano } from "../core/price/usd.ts";
import { silentTelemetry, type Telemetry } from "../ports/telemetry.ts";
import { GenaiPriceCatalogue } from "../prices/genai-price-catalogue.ts";
import { unbilledFields } from "../prices/read-price-list.ts";
import { updateCatalogue } from "../prices/update-catalogue.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";
import { explainRates } from "./explain-price.ts";
import { complain, say } from "./say.ts";
import { settingsOrExit } from "./settings-or-exit.ts";

export interface ShowFlags {
  readonly config?: string;
  readonly provider?: string;
  readonly json?: boolean;
}

export interface UpdateFlags {
  readonly config?: string;
  readonly url?: string;
  readonly json?: boolean;
}

/** Where a gateway without a configuration of its own store has it. */
const fileOf = (settings: Settings | undefined) =>
  settings?.pricesFile ?? join(DEMO_DIRECTORY, "prices.json");

/** What is wrong with a downloaded list belongs on standard error, whatever is asked for. */
const telemetry: Telemetry = {
  ...silentTelemetry,
  log: (level, message) => {
    if (level !== "info") complain(`${message}\n`);
  },
};

const RATE_NAMES: Readonly<Record<keyof Rates, string>> = {
  input: "input",
  cachedInput: "cached_input",
  cacheWrite: "cache_write",
  cacheWriteLong: "cache_write_long",
  audioInput: "audio_input",
  cachedAudioInput: "cached_audio_input",
  output: "output",
  reasoning: "reasoning",
  audioOutput: "audio_output",
  request: "million_requests",
  webSearch: "million_web_searches",
};

/** USD per million, under the configuration's names. */
const usdRates = (rates: Rates) =>
  Object.fromEntries(
    (Object.keys(RATE_NAMES) as (keyof Rates)[]).map((kind) => [RATE_NAMES[kind], usdOfNano(rates[kind])]),
  );

/** How many times the usual price of model tokens a call costs that is served so. */
const serviceTiersOf = ({ serviceTiers }: ModelPrice) =>
  [...(serviceTiers ?? [])].map(([tier, basisPoints]) => [tier, basisPoints / BASIS_POINTS] as const);

const priceJson = (price: ModelPrice) => ({
  ...rateJson(price),
  service_tiers: Object.fromEntries(serviceTiersOf(price)),
});

const rateJson = ({ rates, tiers, paidBasisPoints }: ModelPrice) => ({
  usd_per_million: usdRates(rates),
  tiers: tiers.map((tier) => ({
    above_input_tokens: tier.aboveInputTokens,
    usd_per_million: usdRates(tier.rates),
  })),
  discount: (BASIS_POINTS - paidBasisPoints) / BASIS_POINTS,
});

const priceLines = (price: ModelPrice, indent: string): readonly string[] => [
  ...rateLines(price, indent),
  ...serviceTiersOf(price).map(
    ([tier, times]) => `${indent}served as ${tier}: ${times} times that of model tokens`,
  ),
];

const rateLines = ({ rates, tiers, paidBasisPoints }: ModelPrice, indent: string): readonly string[] => [
  `${indent}${explainRates(rates)}`,
  ...tiers.map(
    (tier) =>
      `${indent}calls with more than ${tier.aboveInputTokens.toLocaleString("en-US")} input tokens: ${explainRates(tier.rates)}`,
  ),
  ...(paidBasisPoints === BASIS_POINTS ? [] : [`${indent}less ${(BASIS_POINTS - paidBasisPoints) / 100} %`]),
];

const timeOfDay = (ms: number) => new Date(ms).toISOString().slice(11, 16);

function whenText({ fromMs, daily }: DatedPrice): string {
  const from =
    fromMs === Number.NEGATIVE_INFINITY ? "first" : `from ${new Date(fromMs).toISOString().slice(0, 10)}`;
  return daily === undefined ? from : `from ${timeOfDay(daily.startMs)} to ${timeOfDay(daily.endMs)} UTC`;
}

type KnownQuote = Exclude<Quote, { readonly kind: "unknown" }>;

interface Shown {
  /** `PROVIDER/ACCOUNT` of the configuration, or the catalogue's provider. */
  readonly account: string;
  readonly quote: KnownQuote;
  readonly history: readonly DatedPrice[];
  readonly unbilled: readonly string[];
}

/** What the model costs now on each account that it has a price on; of the catalogue alone without a configuration. */
function shownPrices(
  model: string,
  provider: string | undefined,
  settings: Settings | undefined,
): readonly Shown[] {
  const providers = settings === undefined ? [] : [...settings.providers.values()];
  const catalogue = new GenaiPriceCatalogue({ providers, file: fileOf(settings), telemetry });
  const book = new PriceBook(settings?.prices ?? NO_PRICES, (name, of) => catalogue.historyOf(name, of));
  const shownOn = (accounts: readonly string[]) =>
    accounts.flatMap((account) => {
      const quote = book.quote(account, modelName(model), Date.now());
      if (quote.kind === "unknown") return [];
      const name = account.split("/", 1)[0];
      const found = catalogue.find(name, model);
      return [
        {
          account: account === "" ? (found?.provider.id ?? "") : account,
          quote,
          history: catalogue.historyOf(name, model) ?? [],
          unbilled: found === undefined ? [] : unbilledFields(found.model),
        },
      ];
    });
  if (settings === undefined) {
    if (provider !== undefined) return shownOn([provider]);
    // Not every model's name tells whose it is.
    const named = shownOn([""]);
    return named.length > 0 ? named : shownOn(Object.keys(PROVIDER_FORMATS));
  }
  return shownOn(
    providers
      .filter(({ name }) => provider === undefined || name === provider)
      .flatMap(({ accounts }) => accounts.map(({ id }) => id)),
  );
}

/** One price that always holds is no history. */
function historyLines(history: readonly DatedPrice[]): readonly string[] {
  if (history.length < 2) return [];
  const now = entryAt(history, Date.now());
  const entries = history.flatMap((entry) => [
    `    ${whenText(entry)}${entry === now ? " (now)" : ""}:`,
    ...priceLines(entry.price, "      "),
  ]);
  return ["  the catalogue's prices over time:", ...entries];
}

function showText(model: string, { account, quote, history, unbilled }: Shown): string {
  const assumed = quote.kind === "assumed" ? ", assumed (unknown_price)" : "";
  return [
    `${model} on ${account}${assumed}`,
    ...priceLines(quote.price, "  "),
    ...historyLines(history),
    ...(unbilled.length === 0
      ? []
      : [`  in the catalogue, but not billed by Sluice: ${unbilled.join(", ")}`]),
  ].join("\n");
}

function showJson({ account, quote, history, unbilled }: Shown) {
  return {
    account,
    kind: quote.kind,
    now: priceJson(quote.price),
    catalogue: history.map((entry) => ({
      from: entry.fromMs === Number.NEGATIVE_INFINITY ? null : new Date(entry.fromMs).toISOString(),
      daily_utc:
        entry.daily === undefined ? null : [timeOfDay(entry.daily.startMs), timeOfDay(entry.daily.endMs)],
      ...priceJson(entry.price),
    })),
    not_billed: unbilled,
  };
}

/** Says what a model costs, and since when. Returns the exit code: 1 where nobody knows. */
export async function showPrices(model: string, flags: ShowFlags): Promise<number> {
  const settings = await settingsOrExit(flags.config);
  if (settings !== undefined && flags.provider !== undefined && !settings.providers.has(flags.provider)) {
    const known = [...settings.providers.keys()].join(", ");
    fail(
      `--provider: there is no provider "${flags.provider}" in ${flags.config}; there are: ${known}`,
      EXIT_CODE.invalid,
    );
  }
  const shown = shownPrices(model, flags.provider, settings);
  if (flags.json === true)
    process.stdout.write(`${JSON.stringify({ model, prices: shown.map(showJson) })}\n`);
  else if (shown.length > 0) say(`${shown.map((one) => showText(model, one)).join("\n\n")}\n`);
  else {
    const whose = flags.provider === undefined ? "" : ` of ${flags.provider}`;
    complain(
      `nobody knows a price of ${model}${whose}; give one under \`prices\` in the configuration, or say what unknown models cost (\`unknown_price\`)\n`,
    );
  }
  return shown.length > 0 ? EXIT_CODE.ok : EXIT_CODE.failed;
}

/** Fetches the newest list of prices. Returns the exit code; on failure the prices in use stay. */
export async function updatePrices(flags: UpdateFlags): Promise<number> {
  const { url } = flags;
  if (url !== undefined && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) {
    fail(`--url: found "${url}"; allowed: an http:// or https:// URL`, EXIT_CODE.invalid);
  }
  const file = fileOf(await settingsOrExit(flags.config));
  const outcome = await updateCatalogue({ url, file });
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...outcome, file })}\n`);
  if (outcome.kind === "failed") {
    if (flags.json !== true) {
      complain(`the prices could not be updated, and stay as they were: ${outcome.reason}\n`);
    }
    return EXIT_CODE.failed;
  }
  if (flags.json !== true) {
    const { providers, models, added, changed } = outcome;
    say(
      `${file}: ${models} models of ${providers} providers; ${added} new and ${changed} with other prices than the built-in list\n` +
        "A gateway that runs takes them when its configuration changes, or when it starts again.\n",
    );
  }
  return EXIT_CODE.ok;
}
