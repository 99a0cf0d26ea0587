import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseRecordings, type Recording } from "../../src/replay-provider/recording.ts";

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** The full collection, where it lies beside the repository; it is too large and too mixed in licences to be part of it. */
const FULL = ["../../../shared/data/exchanges.jsonl", "../../../shared/data/exchanges_compat.jsonl"].map(
  pathOf,
);
const FIXTURES = pathOf("../fixtures/exchanges.jsonl");

/** Whether `allRecordings` has the full collection, or the selection in test/fixtures. */
export const hasFullRecordings = FULL.every((path) => existsSync(path));

/** A recording as its recorder wrote it, for what `Recording` leaves out. */
export type RecordedRow = Readonly<Record<string, unknown>> & {
  readonly id: string;
  readonly provider: string;
  readonly api: string;
};

/** Every recording that there is here: the full collection, otherwise the selection in test/fixtures. */
export function allRecordings(): readonly Recording[] {
  return parseRecordings(textOf(hasFullRecordings ? FULL : [FIXTURES]));
}

/** The rows of `allRecordings`, in the same order, with all their fields. */
export function allRecordedRows(): readonly RecordedRow[] {
  return rowsOf(hasFullRecordings ? FULL : [FIXTURES]);
}

/** The selection in test/fixtures, which is the same everywhere. */
export function fixtureRecordings(): readonly Recording[] {
  return parseRecordings(textOf([FIXTURES]));
}

const textOf = (paths: readonly string[]) => paths.map((path) => readFileSync(path, "utf8")).join("\n");

const rowsOf = (paths: readonly string[]) =>
  textOf(paths)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RecordedRow);
