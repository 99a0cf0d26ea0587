import { randomBytes } from "node:crypto";
import { OperationalError } from "../core/operational-error.ts";
import { CALIBRATION_BYTES_MAX, type CalibrationStore } from "../ports/calibration-store.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { CallEstimates } from "./call-estimates.ts";

/** What one gateway learns, the others know this much later; a crash forgets no more than this. */
const EXCHANGE_MS = 10_000;

/**
 * Tells other gateways on the same store, and this one after a restart, what calls really use. Every gateway publishes under a name of its own, new with each
 * start: what an earlier life has published is absorbed like another's, and fades as this one learns.
 */
export class EstimateExchange {
  readonly #estimates: CallEstimates;
  readonly #store: CalibrationStore;
  readonly #telemetry: Telemetry;
  readonly #instance = randomBytes(9).toString("base64url");
  /** Bodies absorbed, so that what has not changed is not parsed again. */
  #absorbed: ReadonlyMap<string, string> = new Map();
  #published = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(estimates: CallEstimates, store: CalibrationStore, telemetry: Telemetry) {
    this.#estimates = estimates;
    this.#store = store;
    this.#telemetry = telemetry;
  }

  /** Resolves when what others know has been read, or could not be: within the store's deadline. Never rejects. */
  async start(): Promise<void> {
    await this.exchange();
    this.#schedule();
  }

  /** Publishes what has been learned last. Never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.exchange();
  }

  /** What the timer does. Never rejects: nothing here is worth failing for. */
  async exchange(): Promise<void> {
    try {
      const { learned } = this.#estimates;
      if (learned > this.#published) {
        await this.#store.publish(this.#instance, this.#body());
        this.#published = learned;
      }
      const all = await this.#store.load();
      for (const [instance, body] of all) {
        if (instance !== this.#instance && this.#absorbed.get(instance) !== body)
          this.#absorb(instance, body);
      }
      this.#absorbed = all;
    } catch (error) {
      this.#telemetry.count("store-failed", { store: "calibrations" });
      if (error instanceof OperationalError) return;
      this.#telemetry.log("error", "estimates could not be exchanged", { error: String(error) });
    }
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.exchange().then(() => this.#schedule()), EXCHANGE_MS).unref();
  }

  /** As much as a store takes: of very many groups those that learned last, and the broader ones. */
  #body(): string {
    const { input, output } = this.#estimates.snapshot();
    for (let share = 1; ; share /= 2) {
      const inputs = Math.floor(share * input.length);
      const groups = output.groups.slice(0, Math.floor(share * output.groups.length));
      const body = JSON.stringify({
        input: input.slice(input.length - inputs),
        output: { ...output, groups },
      });
      if (Buffer.byteLength(body) <= CALIBRATION_BYTES_MAX || inputs + groups.length === 0) return body;
    }
  }

  #absorb(instance: string, body: string): void {
    let snapshot: unknown;
    try {
      snapshot = JSON.parse(body);
    } catch {
      return;
    }
    this.#estimates.absorb(instance, snapshot);
  }
}
