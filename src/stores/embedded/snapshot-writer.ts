import type { CounterTable } from "../memory/counter-table.ts";
import type { Journal } from "./journal.ts";
import { JournalWriter } from "./journal-codec.ts";

/** A journal below this is read back in well under a second, so folding it would be work for nothing. */
const FOLD_BYTES_MIN = 32 * 1_024 * 1_024;
/** One page is one commit of about 100 µs: small enough not to be felt. */
const PAGE_BYTES = 16 * 1_024;
/** Between two pages, so that a snapshot takes a few percent of the time of one core. */
const PAUSE_MS = 4;

/**
 * Folds the journal into a snapshot in the background, a page at a time, whenever it has grown larger than the last snapshot: so a byte is
 * rewritten once per byte journaled, at most, and a start reads no more than twice what is needed.
 */
export class SnapshotWriter {
  readonly #journal: Journal;
  readonly #table: CounterTable;
  readonly #writer = new JournalWriter();
  #journalBytes: number;
  #snapshotBytes: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(journal: Journal, table: CounterTable) {
    this.#journal = journal;
    this.#table = table;
    // What earlier lives have left to fold counts as well: each of them may have been too short to do it.
    const { rowBytes, snapshotBytes } = journal.size;
    this.#journalBytes = rowBytes;
    this.#snapshotBytes = snapshotBytes;
  }

  /** Tells that a row was added; starts a snapshot when it is time. */
  noteRow(bytes: number): void {
    this.#journalBytes += bytes;
    if (this.#timer !== undefined || this.#journalBytes < Math.max(FOLD_BYTES_MIN, this.#snapshotBytes))
      return;
    this.#journalBytes = 0;
    this.#run(this.#fold());
  }

  /** A snapshot that is under way is given up; the next start throws its pages away. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** One step of the work every pause. A failing disk ends it; the journal is still whole, and the next try comes when as much has been journaled again. */
  #run(work: Iterator<void>): void {
    const step = () => {
      try {
        this.#timer = work.next().done ? undefined : setTimeout(step, PAUSE_MS).unref();
      } catch {
        this.#timer = undefined;
      }
    };
    this.#timer = setTimeout(step, PAUSE_MS).unref();
  }

  *#fold(): Generator<void> {
    // Pages of a try that failed: where this one has fewer, what is left of them would be read as the end of this snapshot, older than what stands before it.
    while (this.#journal.deleteFolded()) yield;
    const position = this.#journal.position;
    let page = 0;
    let bytes = 0;
    const write = () => {
      bytes += this.#writer.row.length;
      this.#journal.addPage(page++, this.#writer.row);
      this.#writer.clear();
    };
    this.#writer.clear();
    for (const [key, state] of this.#table.subjects()) {
      this.#writer.subject(key, state);
      if (this.#writer.row.length < PAGE_BYTES) continue;
      write();
      yield;
    }
    for (const [id, reservation] of this.#table.reservations.entries()) {
      if (reservation === "closed") this.#writer.closed(id);
      else this.#writer.open(id, reservation);
      if (this.#writer.row.length < PAGE_BYTES) continue;
      write();
      yield;
    }
    write();
    this.#journal.finishSnapshot(position);
    this.#snapshotBytes = bytes;
    while (this.#journal.deleteFolded()) yield;
  }
}
