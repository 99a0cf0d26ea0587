import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { OperationalError } from "../../core/operational-error.ts";
import { JOURNAL_VERSION } from "./journal-codec.ts";
import { makeDirectory } from "./make-directory.ts";

/** `process`: survives the death of the process (11 µs a commit). `machine`: also a power cut (an fsync a commit). */
export type Durability = "process" | "machine";

/** Old rows go in portions of this many, so that no deletion holds up the event loop. */
const DELETE_ROWS = 64;

/**
 * The file behind the embedded store: rows of after-images in the order they happened, and snapshot pages that replace all rows up to the
 * moment their making began. Reading pages and then rows, in order, gives the latest image of everything: a page may be newer than the rows
 * that follow it, but the last row of a subject is never older than its page. One process at a time.
 */
export class Journal {
  /** For tables of others beside the journal's own; closed with it. */
  readonly database: DatabaseSync;
  readonly #insertRow: StatementSync;
  readonly #insertPage: StatementSync;
  readonly #deleteRows: StatementSync;
  readonly #deletePages: StatementSync;
  #sequence: number;
  #generation: number;
  #foldedUpTo: number;

  /** Throws an `OperationalError` `store_unavailable` where the folder cannot be used or another process uses it. */
  constructor(directory: string, durability: Durability) {
    const { database, generation, foldedUpTo, sequence } = openJournal(directory, durability);
    this.database = database;
    this.#generation = generation;
    this.#foldedUpTo = foldedUpTo;
    this.#sequence = sequence;
    this.#insertRow = database.prepare("INSERT INTO journal VALUES (?, ?)");
    this.#insertPage = database.prepare("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)");
    this.#deleteRows = database.prepare(
      "DELETE FROM journal WHERE sequence IN (SELECT sequence FROM journal WHERE sequence <= ? LIMIT ?)",
    );
    this.#deletePages = database.prepare(
      "DELETE FROM snapshot WHERE rowid IN (SELECT rowid FROM snapshot WHERE generation <> ? LIMIT ?)",
    );
  }

  /** Everything there is, in the order in which it must be read. */
  *read(): Generator<Uint8Array> {
    const pages = this.database.prepare("SELECT body FROM snapshot WHERE generation = ? ORDER BY page");
    for (const { body } of pages.iterate(this.#generation)) yield body as Uint8Array;
    const rows = this.database.prepare("SELECT body FROM journal WHERE sequence > ? ORDER BY sequence");
    for (const { body } of rows.iterate(this.#foldedUpTo)) yield body as Uint8Array;
  }

  /** Bytes of what `read` gives: of the snapshot, and of the rows since. */
  get size(): { readonly snapshotBytes: number; readonly rowBytes: number } {
    const bytesOf = (where: string, from: number) => {
      const sum = this.database.prepare(`SELECT sum(length(body)) AS bytes FROM ${where}`).get(from);
      return Number(sum?.bytes ?? 0);
    };
    return {
      snapshotBytes: bytesOf("snapshot WHERE generation = ?", this.#generation),
      rowBytes: bytesOf("journal WHERE sequence > ?", this.#foldedUpTo),
    };
  }

  /** Adds a row: one commit. It is durable when this returns. */
  append(body: Uint8Array): void {
    this.#insertRow.run(this.#sequence + 1, body);
    this.#sequence += 1;
  }

  /** Where a snapshot that begins now begins. */
  get position(): number {
    return this.#sequence;
  }

  addPage(page: number, body: Uint8Array): void {
    this.#insertPage.run(this.#generation + 1, page, body);
  }

  /** The pages added are the snapshot now, and stand for all rows up to `position`. */
  finishSnapshot(position: number): void {
    this.database
      .prepare("UPDATE state SET generation = ?, folded_up_to = ?")
      .run(this.#generation + 1, position);
    this.#generation += 1;
    this.#foldedUpTo = position;
  }

  /** Deletes a portion of what is neither in the snapshot nor to be read after it, pages of an unfinished one included; false when there was nothing left. */
  deleteFolded(): boolean {
    const rows = this.#deleteRows.run(this.#foldedUpTo, DELETE_ROWS).changes;
    const pages = this.#deletePages.run(this.#generation, DELETE_ROWS).changes;
    return Number(rows) + Number(pages) > 0;
  }

  close(): void {
    this.database.close();
  }
}

interface OpenJournal {
  readonly database: DatabaseSync;
  readonly generation: number;
  readonly foldedUpTo: number;
  readonly sequence: number;
}

function openJournal(directory: string, durability: Durability): OpenJournal {
  let database: DatabaseSync | undefined;
  try {
    makeDirectory(directory);
    database = new DatabaseSync(join(directory, "sluice.db"));
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = ${durability === "machine" ? "FULL" : "NORMAL"};
      BEGIN EXCLUSIVE; COMMIT;
      CREATE TABLE IF NOT EXISTS journal (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL);
      CREATE TABLE IF NOT EXISTS snapshot (generation INTEGER, page INTEGER, body BLOB NOT NULL, PRIMARY KEY (generation, page));
      CREATE TABLE IF NOT EXISTS state (version INTEGER NOT NULL, generation INTEGER NOT NULL, folded_up_to INTEGER NOT NULL);
    `);
    return { database, ...stateOf(database) };
  } catch (cause) {
    database?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OperationalError(
      "store_unavailable",
      /locked|busy/.test(reason)
        ? `another process uses the store in ${directory}: an embedded store serves one process; use Redis for several`
        : `the store in ${directory} cannot be opened: ${reason}`,
      { cause },
    );
  }
}

/** Where the journal is; a new one begins. */
function stateOf(database: DatabaseSync): Omit<OpenJournal, "database"> {
  const found = database.prepare("SELECT version, generation, folded_up_to FROM state").get();
  if (found === undefined) database.prepare("INSERT INTO state VALUES (?, 0, 0)").run(JOURNAL_VERSION);
  else if (found.version !== JOURNAL_VERSION) {
    throw new Error(
      `it was written by another version of Sluice (layout ${found.version}, this one reads ${JOURNAL_VERSION}): use another folder`,
    );
  }
  const generation = Number(found?.generation ?? 0);
  const foldedUpTo = Number(found?.folded_up_to ?? 0);
  // Pages of a snapshot that was never finished.
  database.prepare("DELETE FROM snapshot WHERE generation <> ?").run(generation);
  const last = database.prepare("SELECT max(sequence) AS sequence FROM journal").get();
  return { generation, foldedUpTo, sequence: Math.max(foldedUpTo, Number(last?.sequence ?? 0)) };
}
