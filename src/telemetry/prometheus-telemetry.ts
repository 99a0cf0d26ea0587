import type { Logger } from "pino";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Telemetry, TelemetryEvent } from "../ports/telemetry.ts";

/** Every event is a counter with a fixed set of labels, whose values are closed sets or names from the configuration (X5). */
const EVENTS: Readonly<
  Record<TelemetryEvent, { readonly name: string; readonly help: string; readonly labels: readonly string[] }>
> = {
  "call-admitted": { name: "sluice_calls_admitted_total", help: "Calls that were let through.", labels: [] },
  "call-refused": {
    name: "sluice_calls_refused_total",
    help: "Calls refused by a limit.",
    labels: ["reason"],
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
  "calibration-drifted": {
    name: "sluice_calibration_drifts_total",
    help: "Times that the input estimates of a model have moved by more than a tenth; the log names the model.",
    labels: ["provider"],
  },
  "usage-implausible": {
    name: "sluice_usage_implausible_total",
    help: "Answers whose usage cannot be true, settled by what was counted.",
    labels: [],
  },
  "stream-cut": {
    name: "sluice_answers_cut_total",
    help: "Answers that ended early, by who ended them.",
    labels: ["by"],
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

const NO_LABELS: Readonly<Record<string, string>> = {};

/** Events as Prometheus counters, words as log lines. */
export class PrometheusTelemetry implements Telemetry {
  readonly registry = new Registry();
  readonly #counters = new Map<TelemetryEvent, Counter>();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
    collectDefaultMetrics({ register: this.registry });
    for (const [event, { name, help, labels }] of Object.entries(EVENTS)) {
      const counter = new Counter({ name, help, labelNames: labels, registers: [this.registry] });
      this.#counters.set(event as TelemetryEvent, counter);
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

  count(event: TelemetryEvent, labels: Readonly<Record<string, string>> = NO_LABELS): void {
    this.#counters.get(event)?.inc(labels);
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
