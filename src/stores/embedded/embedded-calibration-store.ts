import type { DatabaseSync, StatementSync } from "node:sqlite";
import { OperationalError } from "../../core/operational-error.ts";
import {
  assertPublishable,
  CALIBRATION_INSTANCES_MAX,
  CALIBRATION_KEEP_MS,
  type CalibrationStore,
} from "../../ports/calibration-store.ts";
import type { Clock } from "../../ports/clock.ts";

/** A table in the embedded store's database: what was learned survives the process. */
export class EmbeddedCalibrationStore implements CalibrationStore {
  readonly #clock: Clock;
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #forgetOld: StatementSync;
  readonly #forgetMany: StatementSync;

  constructor(database: DatabaseSync, clock: Clock) {
    this.#clock = clock;
    database.exec(
      "CREATE TABLE IF NOT EXISTS calibration (instance TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, body TEXT NOT NULL)",
    );
    this.#insert = database.prepare("INSERT OR REPLACE INTO calibration VALUES (?, ?, ?)");
    this.#select = database.prepare("SELECT instance, body FROM calibration ORDER BY at_ms, rowid");
    this.#forgetOld = database.prepare("DELETE FROM calibration WHERE at_ms <= ?");
    this.#forgetMany = database.prepare(
      "DELETE FROM calibration WHERE rowid NOT IN (SELECT rowid FROM calibration ORDER BY at_ms DESC, rowid DESC LIMIT ?)",
    );
  }

  async publish(instance: string, body: string): Promise<void> {
    assertPublishable(instance, body);
    this.#attempt(() => {
      this.#insert.run(instance, this.#clock.nowMs(), body);
      this.#forget();
    });
  }

  async load(): Promise<ReadonlyMap<string, string>> {
    return this.#attempt(() => {
      this.#forget();
      return new Map(this.#select.all().map(({ instance, body }) => [String(instance), String(body)]));
    });
  }

  #forget(): void {
    this.#forgetOld.run(this.#clock.nowMs() - CALIBRATION_KEEP_MS);
    this.#forgetMany.run(CALIBRATION_INSTANCES_MAX);
  }

  #attempt<T>(step: () => T): T {
    try {
      return step();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new OperationalError(
        "store_unavailable",
        `the embedded store cannot keep calibrations: ${reason}`,
        {
          cause,
        },
      );
    }
  }
}
