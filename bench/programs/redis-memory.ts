/**
 * One call each of many users on Redis.
 *
 *     node redis-memory.ts URL USERS SHORT_WINDOW_MS LONG_WINDOW_MS        prints RESULT true
 */
import { FourLimits, subjectOf } from "../support/four-limits.ts";
import { runInFlight } from "../support/in-flight.ts";
import { openRedisStore } from "../support/open-store.ts";

const IN_FLIGHT = 256;

const [url, users, short, long] = process.argv.slice(2);
const store = await openRedisStore(url);
const limits = new FourLimits({ short: Number(short), long: Number(long) });
const instance = 7;
await store.beat(instance, 60_000);
await runInFlight(Number(users), IN_FLIGHT, async (index) => {
  const id = { instance, sequence: index };
  const key = subjectOf(index);
  await store.reserve(limits.reserve(id, key));
  await store.settle(limits.settle(id, key));
});
await store.close();
process.stdout.write("RESULT true\n");
