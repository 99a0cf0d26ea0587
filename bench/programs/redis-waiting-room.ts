/**
 * The waiting room of two gateways on one Redis, and BullMQ's queue on the same server, in rounds; then how long a grant takes.
 *
 *     node redis-waiting-room.ts URL REDIS_PID ROUNDS        prints RESULT with `RedisWaitingRoom`
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

export interface RedisWaitingRoom {
  /** Calls that queued up, were granted, ended, and were settled. */
  readonly room: Rates;
  /** Jobs that were added, taken and completed. */
  readonly bullMq: Rates;
  /** From the step that gives the only place back, in one gateway, to the next grant, in the other. Sorted. */
  readonly grantMs: readonly number[];
}

const SLICE = 10_000;
const GRANTS = 2_000;
const QUEUE = "bench";
const CONCURRENCY = 256;

const [url, redisPid, rounds] = process.argv.slice(2);
const pid = Number(redisPid);
const { hostname, port } = new URL(url);
const fail = (error: unknown) => {
  throw error;
};
const openTwo = () => Promise.all([openRedisStore(url), openRedisStore(url)]);

async function measured(rates: Rates, count: number, run: () => Promise<void>): Promise<void> {
  const startedMs = performance.now();
  const before = cpuMsOf(pid);
  await run();
  rates.perSecond.push((count / (performance.now() - startedMs)) * 1_000);
  rates.redisUs.push(((cpuMsOf(pid) - before) / count) * 1_000);
}

const result = {
  room: { perSecond: [], redisUs: [] } as Rates,
  bullMq: { perSecond: [], redisUs: [] } as Rates,
};

async function roomRounds(): Promise<void> {
  const stores = await openTwo();
  const users = new WaitingUsers(stores);
  await users.start(fail);
  await users.granted(SLICE);
  for (let i = 0; i < Number(rounds); i++) await measured(result.room, SLICE, () => users.granted(SLICE));
}

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
  for (let i = 0; i < Number(rounds); i++) await measured(result.bullMq, SLICE, () => completed(SLICE));
}

async function grantTimes(): Promise<readonly number[]> {
  const users = new WaitingUsers(await openTwo(), 1, 1);
  await users.start(fail, 200);
  await users.granted(GRANTS);
  return users.grantMs.sort((a, b) => a - b);
}

// Each as a process of its own would be: what the one leaves behind must not slow the other.
const only = process.argv[5];
if (only === "grants") process.stdout.write(`RESULT ${JSON.stringify(await grantTimes())}\n`);
else if (only === "bullmq") {
  await bullMqRounds();
  process.stdout.write(`RESULT ${JSON.stringify(result.bullMq)}\n`);
} else {
  await roomRounds();
  process.stdout.write(`RESULT ${JSON.stringify(result.room)}\n`);
}
// Who waits would wait for ever.
process.exit(0);
