import type { Logger } from "pino";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Telemetry, TelemetryEvent, TelemetryMeasure } from "../ports/telemetry.ts";

/** Every event is a counter with a fixed set of labels, whose values are closed sets or names from the configuration (X5). */
const EVENTS: Readonly<
  Record<TelemetryEvent, { readonly name: string; readonly help: string; readonly labels: readonly string[] }>
> = {
  "call-admitted": { name: "sluice_calls_admitted_total", help: "Calls that were let through.", labels: [] },
  "call-refused": {
    name: "sluice_calls_refused_total",
    help: "Calls refused by a limit or by the waiting room, by the code of the refusal.",
    labels: ["reason", "priority"],
  },
  "call-failed": {
    name: "sluice_calls_failed_total",
    help: "Calls that failed after they were admitted.",
    labels: ["by"],
  },
  "shadow-exceeded": {
    name: "sluice_shadow_exceeded_total",
    help: "Calls that a limit in shadow mode would have refused.",
    labels: ["limit"],
  },
  "store-failed": {
    name: "sluice_store_failures_total",
    help: "Steps of the limit store that failed.",
    labels: ["store"],
  },
  "store-bypassed": {
    name: "sluice_store_bypassed_total",
    help: "Calls decided without the store, by their limits' on_store_failure.",
    labels: [],
  },
  "reservation-unsettled": {
    name: "sluice_reservations_unsettled_total",
    help: "Reservations given up without a settlement; what they hold stays charged.",
    labels: [],
  },
  "usage-missing": {
    name: "sluice_usage_missing_total",
    help: "Complete answers without a usable usage, settled by what was counted.",
    labels: [],
  },
  "price-unknown": {
    name: "sluice_prices_unknown_total",
    help: "Calls under a limit on cost whose model has no known price, by what was done.",
    labels: ["price"],
  },
  "tier-unpriced": {
    name: "sluice_tiers_unpriced_total",
    help: "Calls under a limit on cost that were served in a way whose price is not known, at the usual price.",
    labels: ["tier"],
  },
  "audio-unpriced": {
    name: "sluice_audio_unpriced_total",
    help: "Calls under a limit on cost with audio of a model that has no price for it: counted as text.",
    labels: [],
  },
  "call-unread": {
    name: "sluice_calls_unread_total",
    help: "Calls that were passed on unread while limits count model tokens or money: what they use is not counted. By what they are.",
    labels: ["path"],
  },
  "hold-settled": {
    name: "sluice_holds_total",
    help: "Calls whose provider has said what they used, by whether what was held before them covered it.",
    labels: ["model", "covered"],
  },
  "tokens-held": {
    name: "sluice_held_tokens_total",
    help: "Model tokens that were held before the calls of sluice_holds_total.",
    labels: ["model"],
  },
  "tokens-used": {
    name: "sluice_used_tokens_total",
    help: "Model tokens that the calls of sluice_holds_total have used.",
    labels: ["model"],
  },
  "calibration-drifted": {
    name: "sluice_calibration_drifts_total",
    help: "Times that the input estimates of a model have moved by more than a tenth; the log names the model.",
    labels: ["provider"],
  },
  "usage-implausible": {
    name: "sluice_usage_implausible_total",
    help: "Answers whose usage is too far from their bodies to be learned from.",
    labels: [],
  },
  "stream-cut": {
    name: "sluice_answers_cut_total",
    help: "Answers that ended early, by who ended them.",
    labels: ["by"],
  },
  "alert-raised": {
    name: "sluice_budget_alerts_total",
    help: "Times that somebody's limit was used up to a share in percent, once a subject and window.",
    labels: ["limit", "share"],
  },
  "alert-delivered": {
    name: "sluice_alert_webhooks_delivered_total",
    help: "Alerts that the webhook has taken.",
    labels: [],
  },
  "alert-undelivered": {
    name: "sluice_alert_webhooks_failed_total",
    help: "Alerts that the webhook has not taken, by why they were given up.",
    labels: ["reason"],
  },
  "config-reloaded": {
    name: "sluice_config_reloads_total",
    help: "Changed configurations that were taken.",
    labels: [],
  },
  "config-rejected": {
    name: "sluice_config_rejections_total",
    help: "Changed configurations that were invalid; the old one stays.",
    labels: [],
  },
};

/** Every measure is a histogram. */
const MEASURES: Readonly<
  Record<
    TelemetryMeasure,
    {
      readonly name: string;
      readonly help: string;
      readonly labels: readonly string[];
      readonly buckets: readonly number[];
    }
  >
> = {
  "call-waited": {
    name: "sluice_wait_seconds",
    help: "How long calls waited in the waiting room, by what came of it: granted, refused or left.",
    labels: ["priority", "outcome"],
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600],
  },
  "estimate-ratio": {
    name: "sluice_estimate_ratio",
    help: "Estimated by used model tokens of calls, input and output: 1 is exact. The output is estimated so that most calls stay below it.",
    labels: ["kind", "model"],
    buckets: [0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 4, 8],
  },
};

const NO_LABELS: Readonly<Record<string, string>> = {};

/** Events as Prometheus counters, words as log lines. */
export class PrometheusTelemetry implements Telemetry {
  readonly registry = new Registry();
  readonly #counters = new Map<TelemetryEvent, Counter>();
  readonly #histograms = new Map<TelemetryMeasure, Histogram>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
    collectDefaultMetrics({ register: this.registry });
    for (const [event, { name, help, labels }] of Object.entries(EVENTS)) {
      const counter = new Counter({ name, help, labelNames: labels, registers: [this.registry] });
      this.#counters.set(event as TelemetryEvent, counter);
    }
    for (const [measure, { name, help, labels, buckets }] of Object.entries(MEASURES)) {
      const shape = { name, help, labelNames: labels, buckets: [...buckets], registers: [this.registry] };
      this.#histograms.set(measure as TelemetryMeasure, new Histogram(shape));
    }
  }

  /** A value that is read when the page is asked for. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** One value for each value of a label, read when the page is asked for. */
  labelledGauge(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [value: string, count: number]>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        for (const [value, count] of read()) this.set({ [label]: value }, count);
      },
    });
  }

  count(event: TelemetryEvent, labels?: Readonly<Record<string, string>>, amount = 1): void {
    const counter = this.#counters.get(event);
    if (labels === undefined) counter?.inc(amount);
    else counter?.inc(labels, amount);
  }

  observe(
    measure: TelemetryMeasure,
    value: number,
    labels: Readonly<Record<string, string>> = NO_LABELS,
  ): void {
    this.#histograms.get(measure)?.observe(labels, value);
  }

  log(level: "info" | "warn" | "error", message: string, details?: Readonly<Record<string, unknown>>): void {
    this.#logger[level](details ?? {}, message);
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  render(): Promise<string> {
    return this.registry.metrics();
  }
}
