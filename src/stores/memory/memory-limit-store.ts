import type { LimitReading } from "../../core/limits/limit-spec.ts";
import { OperationalError } from "../../core/operational-error.ts";
import type { CalibrationStore } from "../../ports/calibration-store.ts";
import { type Clock, systemClock } from "../../ports/clock.ts";
import type {
  ExtendRequest,
  LimitStore,
  ReadRequest,
  ReleaseRequest,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
  SettleRequest,
} from "../../ports/limit-store.ts";
import { CounterTable } from "./counter-table.ts";
import { InProcessPermitQueue } from "./in-process-permit-queue.ts";
import { MemoryCalibrationStore } from "./memory-calibration-store.ts";

/** Ten sweeps a second forget a table of any size within ten seconds of its expiry, at about a millisecond each for a million subjects. */
export const SWEEP_INTERVAL_MS = 100;

/** Counters in this process's memory: for one process, and gone with it. Never unavailable. */
export class MemoryLimitStore implements LimitStore {
  readonly calibrations: CalibrationStore;
  readonly permits: InProcessPermitQueue;
  readonly #table = new CounterTable();
  readonly #clock: Clock;
  readonly #sweeper: NodeJS.Timeout;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.calibrations = new MemoryCalibrationStore(clock);
    this.permits = new InProcessPermitQueue(this.#table, clock);
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
  }

  /** How many subjects are remembered. */
  get size(): number {
    return this.#table.size;
  }

  /** What the timer does: for tests and benchmarks that set the clock themselves. */
  sweep(): void {
    this.#table.sweep(this.#clock.nowMs());
  }

  async reserve(request: ReserveRequest): Promise<ReserveOutcome> {
    return this.#table.reserve(request, this.#clock.nowMs());
  }

  async extend(request: ExtendRequest): Promise<ReserveOutcome> {
    return this.#table.extend(request, this.#clock.nowMs());
  }

  async settle(request: SettleRequest): Promise<SettleOutcome> {
    return this.#table.settle(request, this.#clock.nowMs());
  }

  async release(request: ReleaseRequest): Promise<SettleOutcome> {
    return this.#table.release(request, this.#clock.nowMs());
  }

  async read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]> {
    return this.#table.read(requests, this.#clock.nowMs());
  }

  async beat(instance: number, leaseMs: number): Promise<number> {
    return this.#table.beat(instance, leaseMs, this.#clock.nowMs());
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.permits.close(new OperationalError("store_unavailable", "the store is closed"));
  }
}
