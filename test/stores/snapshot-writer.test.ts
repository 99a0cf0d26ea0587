import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { SubjectState } from "../../src/core/limits/subject-state.ts";
import { Journal } from "../../src/stores/embedded/journal.ts";
import { readJournalRow } from "../../src/stores/embedded/journal-codec.ts";
import { SnapshotWriter } from "../../src/stores/embedded/snapshot-writer.ts";
import { CounterTable } from "../../src/stores/memory/counter-table.ts";
import { until } from "../support/until.ts";

/** As much as starts a snapshot. */
const FOLD_BYTES = 64 * 1_024 * 1_024;

/** A key that fills a page of its own. */
const keyOf = (name: string) => name.padEnd(20_000);

/** A subject without limits; `usedMs` tells one state of it from another. */
const stateOf = (usedMs: number, expiresMs: number): SubjectState => [usedMs, expiresMs];

test("SnapshotWriter leaves nothing of a snapshot that failed in the next one (X6)", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-embedded-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const journal = new Journal(directory, "process");
  t.after(() => journal.close());
  const table = new CounterTable();
  const snapshots = new SnapshotWriter(journal, table);
  const finish = t.mock.method(Journal.prototype, "finishSnapshot");
  for (const name of ["one", "two", "three"]) table.restoreSubject(keyOf(name), stateOf(1, 10));
  table.restoreSubject(keyOf("alice"), stateOf(1, 1_000));
  table.restoreSubject(keyOf("bob"), stateOf(1, 1_000));

  const { addPage } = Journal.prototype;
  const full = t.mock.method(
    Journal.prototype,
    "addPage",
    function (this: Journal, page: number, body: Uint8Array) {
      if (page === 4) throw new Error("database or disk is full");
      addPage.call(this, page, body);
    },
  );
  snapshots.noteRow(FOLD_BYTES);
  await until(() => full.mock.callCount() === 5);
  full.mock.restore();

  // Fewer subjects by now, and of alice another state than stands in the fourth page of the snapshot that failed.
  table.sweep(10);
  table.restoreSubject(keyOf("alice"), stateOf(2, 1_000));
  snapshots.noteRow(FOLD_BYTES);
  await until(() => finish.mock.callCount() === 1);
  const read = new Map<string, SubjectState>();
  for (const row of journal.read()) {
    readJournalRow(row, { subject: (key, state) => read.set(key.trimEnd(), state), reservation: () => {} });
  }
  assert.deepEqual([...read].sort(), [
    ["alice", stateOf(2, 1_000)],
    ["bob", stateOf(1, 1_000)],
  ]);
});
