import type { LimitReading } from "../../core/limits/limit-spec.ts";
import type { SubjectState } from "../../core/limits/subject-state.ts";
import { OperationalError } from "../../core/operational-error.ts";
import type { CalibrationStore } from "../../ports/calibration-store.ts";
import { type Clock, systemClock } from "../../ports/clock.ts";
import type {
  ExtendRequest,
  LimitStore,
  ReadRequest,
  ReleaseRequest,
  ReservationId,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
  SettleRequest,
} from "../../ports/limit-store.ts";
import { silentTelemetry, type Telemetry } from "../../ports/telemetry.ts";
import { type ChangeListener, CounterTable } from "../memory/counter-table.ts";
import { InProcessPermitQueue } from "../memory/in-process-permit-queue.ts";
import { SWEEP_INTERVAL_MS } from "../memory/memory-limit-store.ts";
import type { OpenReservation } from "../memory/reservation-table.ts";
import { EmbeddedCalibrationStore } from "./embedded-calibration-store.ts";
import { type Durability, Journal } from "./journal.ts";
import { JournalWriter, readJournalRow } from "./journal-codec.ts";
import { SnapshotWriter } from "./snapshot-writer.ts";

export interface EmbeddedLimitStoreOptions {
  /** Made where it is missing. One process at a time. */
  readonly directory: string;
  /** `process` by default. */
  readonly durability?: Durability;
  readonly clock?: Clock;
  readonly telemetry?: Telemetry;
}

/** After a failed commit, how long until the next try. */
const RETRY_MS = 100;

/**
 * Counters in memory, with every change in a journal before the decision that made it is acted on: all changes of one turn of the event loop are one
 * row and one commit, and what they decided is told after it. A hot subject that changes many times in a turn is written once.
 *
 * While commits fail (a full disk), every step is `store_unavailable`; what had been decided in memory is written with the first commit that
 * succeeds.
 */
export class EmbeddedLimitStore implements LimitStore, ChangeListener {
  /** In the same database; ends with this store. */
  readonly calibrations: CalibrationStore;
  readonly permits: InProcessPermitQueue;
  readonly #table = new CounterTable(this);
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  readonly #writer = new JournalWriter();
  readonly #changed = new Map<string, SubjectState>();
  readonly #snapshot: SnapshotWriter;
  readonly #sweeper: NodeJS.Timeout;
  /** Settles when the changes of this turn are durable; undefined while there are none. */
  #commit: PromiseWithResolvers<void> | undefined;
  #failure: OperationalError | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  /** Throws an `OperationalError` `store_unavailable` where the folder cannot be used. */
  constructor(options: EmbeddedLimitStoreOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#telemetry = options.telemetry ?? silentTelemetry;
    this.#journal = new Journal(options.directory, options.durability ?? "process");
    this.#restore(options.directory);
    this.calibrations = new EmbeddedCalibrationStore(this.#journal.database, this.#clock);
    this.permits = new InProcessPermitQueue(this.#table, this.#clock, {
      assertUsable: () => this.#assertUsable(),
      committed: () => this.#commit?.promise,
    });
    this.#snapshot = new SnapshotWriter(this.#journal, this.#table);
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
  }

  /** How many subjects are remembered. */
  get size(): number {
    return this.#table.size;
  }

  /** What the timer does: for tests and benchmarks that set the clock themselves. */
  sweep(): void {
    const givenUp = this.#table.sweep(this.#clock.nowMs());
    for (let i = 0; i < givenUp; i++) this.#telemetry.count("reservation-unsettled");
  }

  subjectChanged(key: string, state: SubjectState): void {
    this.#changed.set(key, state);
    this.#scheduleCommit();
  }

  reservationChanged(id: ReservationId, reservation: OpenReservation | "closed"): void {
    if (reservation === "closed") this.#writer.closed(id);
    else this.#writer.open(id, reservation);
    this.#scheduleCommit();
  }

  async reserve(request: ReserveRequest): Promise<ReserveOutcome> {
    this.#assertUsable();
    const outcome = this.#table.reserve(request, this.#clock.nowMs());
    await this.#commit?.promise;
    return outcome;
  }

  async extend(request: ExtendRequest): Promise<ReserveOutcome> {
    this.#assertUsable();
    const outcome = this.#table.extend(request, this.#clock.nowMs());
    await this.#commit?.promise;
    return outcome;
  }

  async settle(request: SettleRequest): Promise<SettleOutcome> {
    this.#assertUsable();
    const outcome = this.#table.settle(request, this.#clock.nowMs());
    await this.#commit?.promise;
    return outcome;
  }

  async release(request: ReleaseRequest): Promise<SettleOutcome> {
    this.#assertUsable();
    const outcome = this.#table.release(request, this.#clock.nowMs());
    await this.#commit?.promise;
    return outcome;
  }

  async read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]> {
    return this.#table.read(requests, this.#clock.nowMs());
  }

  /** A lease need not be durable: with the process, all of its gateways are gone, and the next one finds none of theirs. */
  async beat(instance: number, leaseMs: number): Promise<number> {
    return this.#table.beat(instance, leaseMs, this.#clock.nowMs());
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#sweeper);
    this.#snapshot.stop();
    this.permits.close(new OperationalError("store_unavailable", "the store is closed"));
    if (this.#commit !== undefined || this.#failure !== undefined) this.#tryAgain();
    clearTimeout(this.#retry);
    this.#closed = true;
    this.#journal.close();
  }

  #assertUsable(): void {
    if (this.#closed) throw new OperationalError("store_unavailable", "the store is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  #scheduleCommit(): void {
    if (this.#commit !== undefined) return;
    this.#commit = Promise.withResolvers<void>();
    // A rejection reaches those who wait for it; where nobody does, `#failure` tells the next caller.
    this.#commit.promise.catch(() => {});
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    const commit = this.#commit;
    if (commit === undefined || this.#closed) return;
    this.#commit = undefined;
    for (const [key, state] of this.#changed) this.#writer.subject(key, state);
    this.#changed.clear();
    try {
      const row = this.#writer.row;
      this.#journal.append(row);
      this.#snapshot.noteRow(row.length);
      this.#writer.clear();
      if (this.#failure !== undefined) this.#telemetry.log("info", "the embedded store can write again");
      this.#failure = undefined;
      commit.resolve();
    } catch (cause) {
      this.#fail(cause, commit);
    }
  }

  #fail(cause: unknown, commit: PromiseWithResolvers<void>): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const isNew = this.#failure === undefined;
    this.#failure = new OperationalError("store_unavailable", `the embedded store cannot write: ${reason}`, {
      cause,
      retryAfterMs: RETRY_MS,
    });
    this.#telemetry.count("store-failed", { store: "embedded" });
    if (isNew) this.#telemetry.log("error", this.#failure.message);
    commit.reject(this.#failure);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#tryAgain(), RETRY_MS).unref();
  }

  /** Writes what a failed commit has left, and what has changed since. */
  #tryAgain(): void {
    this.#commit ??= Promise.withResolvers<void>();
    this.#commit.promise.catch(() => {});
    this.#flush();
  }

  #restore(directory: string): void {
    const { reservations } = this.#table;
    const nowMs = this.#clock.nowMs();
    try {
      for (const row of this.#journal.read()) {
        readJournalRow(row, {
          subject: (key, state) => this.#table.restoreSubject(key, state),
          reservation: (id, reservation) => {
            if (reservation === "closed") reservations.close(id, nowMs);
            else if (reservations.find(id) !== "closed") reservations.put(id, reservation);
          },
        });
      }
    } catch (cause) {
      this.#journal.close();
      throw new OperationalError("store_unavailable", `the store in ${directory} is damaged: ${cause}`, {
        cause,
      });
    }
  }
}
