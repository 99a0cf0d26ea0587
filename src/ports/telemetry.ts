/** What the engine and the stores tell about themselves. Values are numbers; labels come from closed sets or the configuration (X5). */
export interface Telemetry {
  /** Counts an event that an operator may want to see or alert on: once, or `amount` times. */
  count(event: TelemetryEvent, labels?: Readonly<Record<string, string>>, amount?: number): void;
  /** Adds a value to a distribution. */
  observe(measure: TelemetryMeasure, value: number, labels?: Readonly<Record<string, string>>): void;
  /** A line for the operator. `details` never hold keys or texts of prompts (X1, X4). */
  log(level: "info" | "warn" | "error", message: string, details?: Readonly<Record<string, unknown>>): void;
}

/** Events are named noun-verb. */
export type TelemetryEvent =
  | "call-admitted"
  | "call-refused"
  | "call-failed"
  | "shadow-exceeded"
  | "store-failed"
  | "store-bypassed"
  | "reservation-unsettled"
  | "usage-missing"
  | "price-unknown"
  | "tier-unpriced"
  | "audio-unpriced"
  | "hold-settled"
  | "tokens-held"
  | "tokens-used"
  | "call-unread"
  | "usage-implausible"
  | "calibration-drifted"
  | "stream-cut"
  | "alert-raised"
  | "alert-delivered"
  | "alert-undelivered"
  | "config-reloaded"
  | "config-rejected";

export type TelemetryMeasure =
  /** In seconds, of calls that waited. */
  | "call-waited"
  /** Estimated ÷ used, of calls whose provider has said what they used. */
  | "estimate-ratio";

/** For where nobody listens. */
export const silentTelemetry: Telemetry = { count: () => {}, observe: () => {}, log: () => {} };
