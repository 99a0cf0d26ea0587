/**
 * Steps on Redis, each a slice of calls in turn, in rounds: a trivial script, Sluice's reserve, its settle, and rate-limiter-flexible checking the same four limits.
 *
 *     node redis-decisions.ts URL REDIS_PID ROUNDS        prints RESULT with `RedisDecisions`
 */
import { Redis } from "ioredis";
import { FourLimits, MINUTE_AND_HOUR, subjectOf } from "../support/four-limits.ts";
import { runInFlight } from "../support/in-flight.ts";
import { openRedisStore } from "../support/open-store.ts";
import { rateLimiterFlexible } from "../support/peers.ts";
import { cpuMsOf } from "../support/pinned-process.ts";

/** Of one step, a round each: how many a second, and Redis's CPU time for one. */
export interface StepRounds {
  readonly perSecond: number[];
  readonly redisUs: number[];
}

export type RedisStep = "trivial" | "reserve" | "settle" | "rateLimiterFlexible";
export type RedisDecisions = Readonly<Record<RedisStep, StepRounds>>;

const USERS = 10_000;
const IN_FLIGHT = 256;
/** A fraction of a second of the fastest step. */
const SLICE = 30_000;
/** Four commands a check instead of one. */
const SLICE_FLEXIBLE = 8_000;
/** Beyond what any user uses up, as for Sluice's limits. */
const POINTS = 1_000_000_000;
/** Of requests and model tokens, a minute and an hour each. */
const FLEXIBLE_LIMITS = [
  { name: "rm", seconds: 60, points: 1 },
  { name: "rh", seconds: 3_600, points: 1 },
  { name: "tm", seconds: 60, points: 900 },
  { name: "th", seconds: 3_600, points: 900 },
];

const [url, redisPid, rounds] = process.argv.slice(2);
const pid = Number(redisPid);
const client = new Redis(url);
const store = await openRedisStore(url);
const limits = new FourLimits(MINUTE_AND_HOUR);
const instance = 7;
await store.beat(instance, 600_000);
const sha = String(await client.script("LOAD", "return 1"));
const { RateLimiterRedis } = rateLimiterFlexible();
const limiters = FLEXIBLE_LIMITS.map(({ name, seconds, points }) => ({
  points,
  limiter: new RateLimiterRedis({ storeClient: client, keyPrefix: name, points: POINTS, duration: seconds }),
}));

const result: RedisDecisions = {
  trivial: { perSecond: [], redisUs: [] },
  reserve: { perSecond: [], redisUs: [] },
  settle: { perSecond: [], redisUs: [] },
  rateLimiterFlexible: { perSecond: [], redisUs: [] },
};

async function measure(
  step: RedisStep,
  count: number,
  run: (index: number) => Promise<unknown>,
): Promise<void> {
  const beforeMs = cpuMsOf(pid);
  const seconds = await runInFlight(count, IN_FLIGHT, run);
  result[step].perSecond.push(count / seconds);
  result[step].redisUs.push(((cpuMsOf(pid) - beforeMs) * 1_000) / count);
}

let sequence = 0;

async function round(): Promise<void> {
  await measure("trivial", SLICE, (index) => client.callBuffer("evalsha", sha, 1, subjectOf(index % USERS)));
  const first = sequence;
  sequence += SLICE;
  const idOf = (index: number) => ({ instance, sequence: first + index });
  await measure("reserve", SLICE, async (index) => {
    const { kind } = await store.reserve(limits.reserve(idOf(index), subjectOf(index % USERS)));
    if (kind !== "admitted") throw new Error(`a reservation was ${kind}`);
  });
  await measure("settle", SLICE, async (index) => {
    const outcome = await store.settle(limits.settle(idOf(index), subjectOf(index % USERS)));
    if (outcome !== "settled") throw new Error(`a settle was ${outcome}`);
  });
  await measure("rateLimiterFlexible", SLICE_FLEXIBLE, (index) =>
    Promise.all(limiters.map(({ limiter, points }) => limiter.consume(subjectOf(index % USERS), points))),
  );
}

// Once for V8 to optimise, for the scripts to be loaded and for every user to have counters.
await round();
for (const { perSecond, redisUs } of Object.values(result)) {
  perSecond.length = 0;
  redisUs.length = 0;
}
for (let i = 0; i < Number(rounds); i++) await round();
await store.close();
client.disconnect();
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
