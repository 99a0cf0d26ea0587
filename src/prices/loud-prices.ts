import type { PriceSource, Quote } from "../core/price/price-book.ts";
import type { Telemetry } from "../ports/telemetry.ts";

/** Models that are named in the log: their names come from callers (X5). Later ones are only counted. */
const NAMED_MAX = 1_000;

/** Prices that make themselves heard where a limit on cost needs one that nobody knows (E6): each time in the metrics, once a model in the log. */
export class LoudPrices implements PriceSource {
  readonly #prices: PriceSource;
  readonly #telemetry: Telemetry;
  readonly #named: Set<string>;

  /** `named` outlives a change of the configuration, so that it does not make everything be said again. */
  constructor(prices: PriceSource, telemetry: Telemetry, named: Set<string> = new Set()) {
    this.#prices = prices;
    this.#telemetry = telemetry;
    this.#named = named;
  }

  quote(account: string | undefined, model: string, nowMs: number): Quote {
    const quote = this.#prices.quote(account, model, nowMs);
    if (quote.kind !== "listed") this.#tell(quote.kind, account, model);
    return quote;
  }

  #tell(kind: "assumed" | "unknown", account: string | undefined, model: string): void {
    this.#telemetry.count("price-unknown", { price: kind });
    const name = `${account ?? ""} ${model.slice(0, 256)}`;
    if (this.#named.has(name) || this.#named.size >= NAMED_MAX) return;
    this.#named.add(name);
    const what = kind === "assumed" ? "the price of unknown_price is taken" : "limits on cost refuse it";
    this.#telemetry.log("warn", `nobody knows a price of the model: ${what}`, {
      account,
      model: model.slice(0, 256),
    });
  }
}
