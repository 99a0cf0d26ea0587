/**
 * The waiting room of the memory or the embedded store, or a plain queue over the memory store, in rounds: see `WaitingUsers`.
 *
 *     node local-waiting-room.ts memory|embedded|first-come ROUNDS SECONDS        prints RESULT with a list of grants a second
 */
import { systemClock } from "../../src/ports/clock.ts";
import { firstComeStore } from "../support/first-come-store.ts";
import { openLocalStore } from "../support/open-store.ts";
import { PLACES, WaitingUsers } from "../support/waiting-calls.ts";

const SLICE = 50_000;

const [kind, rounds, seconds] = process.argv.slice(2);
const store = openLocalStore(kind === "embedded" ? "embedded" : "memory", systemClock);
const users = new WaitingUsers([kind === "first-come" ? firstComeStore(store, PLACES) : store]);
await users.start((error) => {
  throw error;
});

async function rate(measuredSeconds: number): Promise<number> {
  const startedMs = performance.now();
  let grants = 0;
  while (performance.now() - startedMs < measuredSeconds * 1_000) {
    await users.granted(SLICE);
    grants += SLICE;
  }
  return grants / ((performance.now() - startedMs) / 1_000);
}

await rate(1);
const rates: number[] = [];
for (let round = 0; round < Number(rounds); round++) rates.push(await rate(Number(seconds)));
process.stdout.write(`RESULT ${JSON.stringify(rates)}\n`);
// Who waits would wait for ever.
process.exit(0);
