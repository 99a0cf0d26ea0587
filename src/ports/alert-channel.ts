import type { Meter } from "../core/limits/limit-spec.ts";

/** Somebody's limit has been used up to a share that was to be told. Holds no keys and no texts of prompts (X1, X4). */
export interface BudgetAlert {
  /** The same for what is told twice, which happens where a gateway dies while it tells: whoever is told can leave out the second. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly atMs: number;
  readonly limitName: string;
  /** Whose limit, by attribute; empty for everybody's. */
  readonly subject: Readonly<Record<string, string>>;
  readonly meter: Meter;
  /** In percent. */
  readonly share: number;
  /** In the meter's unit: nano-USD for `cost`. */
  readonly limit: number;
  readonly used: number;
  readonly held: number;
  /** `1h`, `day`. */
  readonly per: string;
  /** When the period ends, in epoch milliseconds; calendar windows only. */
  readonly resetsAtMs: number | undefined;
  readonly mode: "enforce" | "shadow";
}

/**
 * `unfinished`: the channel was closed before anybody was told, so that somebody else has to. `full`: it keeps as many as it may, and may have room later.
 */
export type AlertDelivery = "delivered" | "failed" | "unfinished" | "full";

/** Where alerts go, beside the log and the metrics. */
export interface AlertChannel {
  /** Resolves when it has been told, or never will be. Bounded in time and memory; never rejects. */
  send(alert: BudgetAlert): Promise<AlertDelivery>;
  /** Gives what is under way a last, short chance. Every `send` has resolved when this does. */
  close(): Promise<void>;
}
