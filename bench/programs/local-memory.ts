/**
 * What users cost who each made one call a moment ago, and after their windows have passed. Run with `--expose-gc`.
 *
 *     node local-memory.ts memory|embedded USERS        prints RESULT with `LocalMemory`
 */
import type { Clock } from "../../src/ports/clock.ts";
import { FourLimits, MINUTE_AND_HOUR, subjectOf } from "../support/four-limits.ts";
import { runInFlight } from "../support/in-flight.ts";
import { openLocalStore } from "../support/open-store.ts";

/** Bytes beyond what the process had before the first user. */
export interface LocalMemory {
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly idleHeapBytes: number;
  readonly idleResidentBytes: number;
  readonly idleSubjects: number;
}

/** As in a busy gateway; the journal's rows are as large as there. */
const IN_FLIGHT = 256;
/** All windows have passed, and the time for which closed reservations are remembered. */
const IDLE_MS = 3 * 3_600_000;
/** A store forgets a part of its subjects in each sweep. */
const SWEEPS = 2_000;
/** Enough to optimise the code before the memory is looked at first. */
const WARM_USERS = 2_000;

class SteppedClock implements Clock {
  #nowMs = 1_760_000_000_000;
  nowMs = () => this.#nowMs;
  advance(byMs: number): void {
    this.#nowMs += byMs;
  }
}

const users = Number(process.argv[3]);
const clock = new SteppedClock();
const store = openLocalStore(process.argv[2] === "embedded" ? "embedded" : "memory", clock);
const limits = new FourLimits(MINUTE_AND_HOUR);
const instance = 7;
await store.beat(instance, 1e9);
let sequence = 0;

async function call(user: number): Promise<void> {
  const id = { instance, sequence: sequence++ };
  const key = subjectOf(user);
  await store.reserve(limits.reserve(id, key));
  await store.settle(limits.settle(id, key));
  // A million calls do not come in one millisecond: about 20,000 a second.
  if (id.sequence % 20 === 0) clock.advance(1);
}

function memory(): { readonly resident: number; readonly heap: number } {
  // Twice: what a first collection finalises, a second frees.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, heap: heapUsed + external };
}

async function forget(): Promise<void> {
  clock.advance(IDLE_MS);
  for (let i = 0; i < SWEEPS && store.size > 0; i++) {
    store.sweep();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

await runInFlight(WARM_USERS, IN_FLIGHT, (index) => call(-1 - index));
await forget();
await store.beat(instance, 1e9);
const before = memory();
await runInFlight(users, IN_FLIGHT, call);
const after = memory();
await forget();
const idle = memory();
const result: LocalMemory = {
  residentBytes: after.resident - before.resident,
  heapBytes: after.heap - before.heap,
  idleHeapBytes: idle.heap - before.heap,
  idleResidentBytes: idle.resident - before.resident,
  idleSubjects: store.size,
};
await store.close();
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
