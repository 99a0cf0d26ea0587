/**
 * The waiting room in one process, in rounds, layer by layer:
 *
 *     room     the room over the limits, on a simulated clock: see `roomLayer`
 *     queue    the permit queue of the memory store: see `queueLayer`
 *     memory, embedded, first-come
 *              whole calls through the memory store, the embedded store, or a plain queue over the memory store: see `WaitingUsers`
 *
 *     node local-waiting-room.ts room|queue|memory|embedded|first-come ROUNDS SECONDS        prints RESULT with a list of grants a second
 */
import { systemClock } from "../../src/ports/clock.ts";
import { firstComeStore } from "../support/first-come-store.ts";
import { openLocalStore } from "../support/open-store.ts";
import { PLACES, WaitingUsers } from "../support/waiting-calls.ts";
import { type Layer, queueLayer, roomLayer } from "../support/waiting-layers.ts";

const SLICE = 50_000;

const [kind, rounds, seconds] = process.argv.slice(2);

async function wholeCalls(): Promise<Layer> {
  const store = openLocalStore(kind === "embedded" ? "embedded" : "memory", systemClock);
  const users = new WaitingUsers([kind === "first-come" ? firstComeStore(store, PLACES) : store]);
  await users.start((error) => {
    throw error;
  });
  return {
    async granted(count) {
      const startedMs = performance.now();
      await users.granted(count);
      return performance.now() - startedMs;
    },
  };
}

async function layerOf(): Promise<Layer> {
  if (kind === "room") return roomLayer();
  return kind === "queue" ? queueLayer(openLocalStore("memory", systemClock)) : wholeCalls();
}

const layer = await layerOf();

async function rate(measuredSeconds: number): Promise<number> {
  const startedMs = performance.now();
  let grants = 0;
  let tookMs = 0;
  while (performance.now() - startedMs < measuredSeconds * 1_000) {
    tookMs += await layer.granted(SLICE);
    grants += SLICE;
  }
  return grants / (tookMs / 1_000);
}

await rate(1);
const rates: number[] = [];
for (let round = 0; round < Number(rounds); round++) rates.push(await rate(Number(seconds)));
process.stdout.write(`RESULT ${JSON.stringify(rates)}\n`);
// Who waits would wait for ever.
process.exit(0);
