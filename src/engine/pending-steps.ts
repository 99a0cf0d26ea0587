import { OperationalError } from "../core/operational-error.ts";
import type { LimitStore, ReleaseRequest, SettleOutcome, SettleRequest } from "../ports/limit-store.ts";
import type { Telemetry } from "../ports/telemetry.ts";

/** Steps that wait for a store that is away: a few minutes of a busy gateway, a few MB. */
const PENDING_MAX = 20_000;

/** A step that the store has still to be told of. */
export type PendingStep =
  | { readonly step: "settle"; readonly request: SettleRequest }
  | { readonly step: "release"; readonly request: ReleaseRequest };

/** Whether the store, and nothing else, is what failed. */
export function isUnavailable(error: unknown): error is OperationalError {
  return error instanceof OperationalError && error.code === "store_unavailable";
}

/** Settlements and releases that the store did not answer: kept, and repeated when it is back. Bounded. */
export class PendingSteps {
  readonly #store: LimitStore;
  readonly #telemetry: Telemetry;
  readonly #done: (step: PendingStep) => void;
  /** By id, so that a settlement that failed twice is tried once. */
  readonly #pending = new Map<string, PendingStep>();
  #retrying: Promise<void> | undefined;

  /** `done` is told of every step that was carried out after all. */
  constructor(store: LimitStore, telemetry: Telemetry, done: (step: PendingStep) => void) {
    this.#store = store;
    this.#telemetry = telemetry;
    this.#done = done;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Carries out a step now, or keeps it where the store does not answer. Never rejects because the store fails. */
  async carryOut(pending: PendingStep): Promise<void> {
    try {
      await this.#carryOut(pending);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      this.keep(pending);
    }
  }

  keep(pending: PendingStep): void {
    this.#telemetry.count("store-failed", { store: "limits" });
    if (this.#pending.size >= PENDING_MAX) {
      this.#telemetry.count("reservation-unsettled");
      return;
    }
    const { instance, sequence } = pending.request.id;
    this.#pending.set(`${instance}:${sequence}`, pending);
  }

  /**
   * Tries all again, one after the other, until the store does not answer; resolves when that is over, also where it was under way already. Both steps are idempotent by id (L6), so one
   * whose reply was lost is simply repeated. Never rejects: a step that fails for another reason than a store that is away is given up, and logged.
   */
  retry(): Promise<void> {
    this.#retrying ??= this.#retry().finally(() => {
      this.#retrying = undefined;
    });
    return this.#retrying;
  }

  #carryOut({ step, request }: PendingStep): Promise<SettleOutcome> {
    return step === "settle" ? this.#store.settle(request) : this.#store.release(request);
  }

  async #retry(): Promise<void> {
    for (const [name, pending] of this.#pending) {
      try {
        await this.#carryOut(pending);
      } catch (error) {
        if (isUnavailable(error)) return;
        this.#pending.delete(name);
        // A mistake in the code: it would fail each time, and keep those behind it.
        this.#telemetry.count("reservation-unsettled");
        this.#telemetry.log("error", "a step could not be repeated", {
          step: pending.step,
          error: String(error),
        });
        continue;
      }
      this.#pending.delete(name);
      this.#done(pending);
    }
  }
}
