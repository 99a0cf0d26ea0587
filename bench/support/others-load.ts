import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** Long beside the 10 ms in which Linux counts. */
const SAMPLE_MS = 1_000;
/** The place of `idle` and of `iowait` in the first line of `/proc/stat`. */
const IDLE = 3;
const IOWAIT = 4;

function ticks(): { readonly idle: number; readonly all: number } {
  const [line] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  const counts = line.trim().split(/\s+/).slice(1).map(Number);
  return { idle: counts[IDLE] + counts[IOWAIT], all: counts.reduce((sum, count) => sum + count, 0) };
}

/** Which share of the machine's processor time is used while no benchmark runs: by others, that is. */
export async function othersShare(): Promise<number> {
  const before = ticks();
  await delay(SAMPLE_MS);
  const after = ticks();
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
}
