import { BANDS, DEPTH_MAX } from "./output-group-tree.ts";
import { PACKED_BUCKETS, type PackedLengths } from "./survival-histogram.ts";

/** Raised whenever buckets, bands, paths or units change: snapshots of another version are not looked at. */
export const SNAPSHOT_VERSION = 2;
/** Groups in one snapshot: one with this many is some hundred kilobytes, which a gateway can publish every few seconds. */
export const SNAPSHOT_GROUPS_MAX = 200;

/** What an instance has seen itself, as plain JSON. */
export interface OutputSnapshot {
  readonly version: number;
  /** How many calls had been seen: the same revision of the same instance holds the same evidence. */
  readonly revision: number;
  readonly groups: readonly {
    /** Provider, model, effort, feature, plan; shorter for broader groups. */
    readonly path: readonly string[];
    readonly all: PackedLengths;
    /** By the band of the input. */
    readonly bands: readonly { readonly band: number; readonly counts: PackedLengths }[];
  }[];
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isCounts(value: unknown): value is PackedLengths {
  if (!Array.isArray(value) || value.length > 2 * PACKED_BUCKETS || value.length % 2 !== 0) return false;
  return value.every((item, i) => isCount(item) && (i % 2 === 1 || item < PACKED_BUCKETS));
}

function isBand(value: unknown): boolean {
  return isRecord(value) && isCount(value.band) && value.band < BANDS && isCounts(value.counts);
}

function isGroup(value: unknown): boolean {
  if (!isRecord(value) || !isCounts(value.all)) return false;
  const { path, bands } = value;
  const isPath =
    Array.isArray(path) && path.length <= DEPTH_MAX && path.every((name) => typeof name === "string");
  return isPath && Array.isArray(bands) && bands.length <= BANDS && bands.every(isBand);
}

/** What somebody published, where it is a snapshot of this version: it comes from a store that others write to. */
export function parseOutputSnapshot(value: unknown): OutputSnapshot | undefined {
  if (!isRecord(value) || value.version !== SNAPSHOT_VERSION || !isCount(value.revision)) return undefined;
  const { groups } = value;
  if (!Array.isArray(groups) || groups.length > SNAPSHOT_GROUPS_MAX || !groups.every(isGroup))
    return undefined;
  return value as unknown as OutputSnapshot;
}
