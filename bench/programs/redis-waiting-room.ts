/**
 * The waiting room of two gateways on one Redis, or BullMQ's queue on it, in rounds; or how long a grant takes.
 *
 *     node redis-waiting-room.ts URL REDIS_PID ROUNDS room|bullmq        prints RESULT with `Rates`
 *     node redis-waiting-room.ts URL REDIS_PID 0 grants                  prints RESULT with milliseconds, sorted
 */
import { openRedisStore } from "../support/open-store.ts";
import { bullMq } from "../support/peers.ts";
import { cpuMsOf } from "../support/pinned-process.ts";
import { WaitingUsers } from "../support/waiting-calls.ts";

export interface Rates {
  /** A round each. */
  readonly perSecond: number[];
  /** CPU time of Redis for one of them. */
  readonly redisUs: number[];
}

const rates: Rates = { perSecond: [], redisUs: [] };

const SLICE = 10_000;
const GRANTS = 2_000;
const QUEUE = "bench";
const CONCURRENCY = 256;

const [url, redisPid, rounds, what] = process.argv.slice(2);
const pid = Number(redisPid);
const { hostname, port } = new URL(url);
const fail = (error: unknown) => {
  throw error;
};
const openTwo = () => Promise.all([openRedisStore(url), openRedisStore(url)]);

async function measured(count: number, run: () => Promise<void>): Promise<void> {
  const startedMs = performance.now();
  const before = cpuMsOf(pid);
  await run();
  rates.perSecond.push((count / (performance.now() - startedMs)) * 1_000);
  rates.redisUs.push(((cpuMsOf(pid) - before) / count) * 1_000);
}

/** Calls that queued up, were granted, ended and were settled. */
async function roomRounds(): Promise<void> {
  const stores = await openTwo();
  const users = new WaitingUsers(stores);
  await users.start(fail);
  await users.granted(SLICE);
  for (let i = 0; i < Number(rounds); i++) await measured(SLICE, () => users.granted(SLICE));
}

/** Jobs that were added, taken and completed. */
async function bullMqRounds(): Promise<void> {
  const { Queue, Worker } = bullMq();
  const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue(QUEUE, { connection });
  const add = () => queue.add("call", { user: "u" }, { removeOnComplete: true });
  let done = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let reached = () => {};
  // As many wait as in the room.
  await Promise.all(Array.from({ length: SLICE }, add));
  new Worker(
    QUEUE,
    async () => {
      add().catch(fail);
      done += 1;
      if (done >= wanted) reached();
    },
    { connection, concurrency: CONCURRENCY },
  );
  const completed = (count: number) => {
    wanted = done + count;
    return new Promise<void>((resolve) => {
      reached = resolve;
    });
  };
  await completed(SLICE);
  for (let i = 0; i < Number(rounds); i++) await measured(SLICE, () => completed(SLICE));
}

/** From the step that gives the only place back, in one gateway, to the next grant, in the other. */
async function grantTimes(): Promise<readonly number[]> {
  const users = new WaitingUsers(await openTwo(), 1, 1);
  await users.start(fail, 200);
  await users.granted(GRANTS);
  return users.grantMs.sort((a, b) => a - b);
}

async function answer(): Promise<unknown> {
  if (what === "grants") return grantTimes();
  await (what === "bullmq" ? bullMqRounds() : roomRounds());
  return rates;
}

process.stdout.write(`RESULT ${JSON.stringify(await answer())}\n`);
// Who waits would wait for ever.
process.exit(0);
