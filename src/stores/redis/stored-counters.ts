import type { Buffer } from "node:buffer";
import type { LimitReading, LimitSpec, RollingWindowSpec } from "../../core/limits/limit-spec.ts";

/*
 * How limits stand, from the bytes that `reserve-fast.lua` answers with: a script pays more for putting numbers together than a gateway does. The layout is
 * described in `subject-state.lua`.
 */
const LAYOUT = 2;
const SEVERAL = 3;
const LAST_MS_AT = 1;
const HEAD_BYTES_AT = 34;
const HEADER_BYTES = 37;
/** Of an entry: where its numbers are. */
const OLDER_AT = 6;
const NEWEST_LAST_MS_AT = 13;
const HELD_AT = 19;
const USED_AT = 26;
const ENTRY_BYTES = 33;
const SUM_USED_AT = 40;
const FIRST_MS_AT = 47;
const LAST_OLDER_MS_AT = 53;
const OLDER_BYTES = 26;
const LONG = 254;
const LONG_COUNT_AT = 7;
const LONG_BYTES = 10;
const INTEGER_BYTES = 7;

const uint24 = (bytes: Buffer, at: number) => bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
const uint32 = (bytes: Buffer, at: number) => uint24(bytes, at) + bytes[at + 3] * 2 ** 24;
const int48 = (bytes: Buffer, at: number) =>
  uint32(bytes, at) + (((bytes[at + 4] | (bytes[at + 5] << 8)) << 16) >> 16) * 2 ** 32;
const int56 = (bytes: Buffer, at: number) =>
  uint32(bytes, at) + ((uint24(bytes, at + 4) << 8) >> 8) * 2 ** 32;

/** The readings of the limits that a call was charged for, in their order. All are rolling windows. */
export function readStored(bytes: Buffer, specs: readonly LimitSpec[]): LimitReading[] {
  const readings: LimitReading[] = [];
  if (bytes[0] === LAYOUT) {
    readSubject(bytes, 0, specs, specs.length, readings);
    return readings;
  }
  if (bytes[0] !== SEVERAL) throw new TypeError(`a script answered in layout ${bytes[0]}`);
  for (let at = 1; at < bytes.length; ) {
    const charges = bytes[at];
    readSubject(bytes, at + 1, specs, readings.length + charges, readings);
    at += 1 + uint24(bytes, at + 1 + HEAD_BYTES_AT);
  }
  return readings;
}

/** Adds the readings of the next limits up to the `end`th. */
function readSubject(
  bytes: Buffer,
  from: number,
  specs: readonly LimitSpec[],
  end: number,
  readings: LimitReading[],
): void {
  const nowMs = int48(bytes, from + LAST_MS_AT);
  const stop = from + uint24(bytes, from + HEAD_BYTES_AT);
  let at = from + HEADER_BYTES;
  while (readings.length < end) {
    if (at >= stop) throw new TypeError("a script answered without a limit that it was asked for");
    const spec = specs[readings.length];
    if (uint32(bytes, at) + (uint24(bytes, at + 4) % 2 ** 16) * 2 ** 32 === spec.id) {
      readings.push(readEntry(bytes, at, spec as RollingWindowSpec, nowMs));
    }
    const older = bytes[at + OLDER_AT];
    if (older === 0) at += ENTRY_BYTES;
    else if (older < LONG) at += ENTRY_BYTES + OLDER_BYTES;
    else at += LONG_BYTES + INTEGER_BYTES * uint24(bytes, at + LONG_COUNT_AT);
  }
}

/** As `readRollingWindow` of `core/limits/rolling-window.ts` reads it. The newest sub-window counts, and all older ones that are not empty do. */
function readEntry(
  bytes: Buffer,
  at: number,
  { capacity, windowMs }: RollingWindowSpec,
  nowMs: number,
): LimitReading {
  let held = int56(bytes, at + HELD_AT);
  let used = int56(bytes, at + USED_AT);
  const isEmpty = held + used === 0;
  const newestMs = isEmpty ? 0 : int48(bytes, at + NEWEST_LAST_MS_AT) + windowMs - nowMs;
  let moreInMs = newestMs;
  let fullInMs = newestMs;
  if (bytes[at + OLDER_AT] > 0) {
    held += int56(bytes, at + ENTRY_BYTES);
    used += int56(bytes, at + SUM_USED_AT);
    const firstMs = int48(bytes, at + FIRST_MS_AT);
    if (firstMs > 0) {
      moreInMs = firstMs + windowMs - nowMs;
      if (isEmpty) fullInMs = int48(bytes, at + LAST_OLDER_MS_AT) + windowMs - nowMs;
    }
  }
  return { used, held, remaining: capacity - used - held, moreInMs, fullInMs };
}
