/**
 * Decisions on the memory or the embedded store, in rounds.
 *
 *     node local-decisions.ts memory|embedded ROUNDS SECONDS        prints RESULT with a list of decisions a second
 */
import { systemClock } from "../../src/ports/clock.ts";
import { FourLimits, MINUTE_AND_HOUR, subjectOf } from "../support/four-limits.ts";
import { runInFlight } from "../support/in-flight.ts";
import { openLocalStore } from "../support/open-store.ts";

/** So many users call in turn; more than a processor's caches hold. */
const USERS = 10_000;
/** Calls under way at once in a busy gateway: those of one turn of the event loop share a commit. */
const IN_FLIGHT = 256;
/** A slice is long beside the cost of starting its lanes. */
const SLICE = 20_000;

const [kind, rounds, seconds] = process.argv.slice(2);
const store = openLocalStore(kind === "embedded" ? "embedded" : "memory", systemClock);
const limits = new FourLimits(MINUTE_AND_HOUR);
const instance = 7;
await store.beat(instance, 600_000);
let sequence = 0;

async function decide(): Promise<void> {
  const id = { instance, sequence: sequence++ };
  const key = subjectOf(id.sequence % USERS);
  const { kind } = await store.reserve(limits.reserve(id, key));
  const settled = await store.settle(limits.settle(id, key));
  if (kind !== "admitted" || settled !== "settled") throw new Error(`${kind}, ${settled}`);
}

async function rate(measuredSeconds: number): Promise<number> {
  let decisions = 0;
  let spentSeconds = 0;
  while (spentSeconds < measuredSeconds) {
    spentSeconds += await runInFlight(SLICE, IN_FLIGHT, decide);
    decisions += SLICE;
  }
  return decisions / spentSeconds;
}

// Once for V8 to optimise, and for every user to have counters.
await rate(1);
const rates: number[] = [];
for (let round = 0; round < Number(rounds); round++) rates.push(await rate(Number(seconds)));
await store.close();
process.stdout.write(`RESULT ${JSON.stringify(rates)}\n`);
