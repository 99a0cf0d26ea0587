/**
 * How many calls a second can queue up and be granted, while 10,000 users wait: each call is reserved on its user's limit and on one that all share, ends at once, is
 * settled, and its user queues up again. In memory, layer by layer: the room itself, which decides who is next and reserves; the permit queue, which also tells the callers
 * and keeps their deadlines; and whole calls, with what callers make for each and with settling. The goal is on the permit queue: queueing and granting is what it does.
 * Whole calls also embedded, and beside a plain queue in the place of the room, first come first served as p-queue is, over the same limits and as many promises and
 * deadlines. All of that with the deciding process alone on one core. On Redis, which has the other core, through two gateways;
 * beside BullMQ on the same server, which adds, takes and completes as many jobs, in order of their arrival and without limits.
 *
 * And how long it takes from the step that gives the only place back to the grant of the next call, in the other gateway.
 */
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import type { Rates } from "./programs/redis-waiting-room.ts";
import { requireTools } from "./support/debian-tool.ts";
import { installPeers } from "./support/peers.ts";
import { SUPPORT_CORE } from "./support/pinned-process.ts";
import { startRedis } from "./support/redis.ts";
import { median, medianRatio, spread } from "./support/rounds.ts";
import { runProgram } from "./support/run-program.ts";

const LOCAL_RATE_MIN = 200_000;
const REDIS_RATE_MIN = 15_000;
const GRANT_MS_MAX = 5;

const localRates = (
  kind: "room" | "queue" | "memory" | "embedded" | "first-come",
  { rounds, seconds, progress }: RunOptions,
) => {
  progress(kind);
  return runProgram("local-waiting-room", kind, String(rounds), String(seconds)) as Promise<number[]>;
};

async function localFigures(options: RunOptions): Promise<readonly Figure[]> {
  const room = await localRates("room", options);
  const queue = await localRates("queue", options);
  const plain = await localRates("first-come", options);
  const memory = await localRates("memory", options);
  const embedded = await localRates("embedded", options);
  const layer = (name: string, rates: readonly number[]): Figure => ({
    name: `${name}: queued, granted`,
    value: median(rates),
    unit: "/s",
    spread: spread(rates),
  });
  const figure = (name: string, rates: readonly number[]): Figure => ({
    name: `${name}: queued, granted, settled`,
    value: median(rates),
    unit: "/s",
    spread: spread(rates),
    peer: "first come first served, same limits",
    ratio: medianRatio(rates, plain),
  });
  return [
    layer("memory, the room alone", room),
    {
      ...layer("memory, the permit queue", queue),
      goal: { on: "value", kind: "at least", bound: LOCAL_RATE_MIN },
    },
    figure("memory", memory),
    figure("embedded", embedded),
  ];
}

/** Each on a server of its own: what one leaves behind must not slow the next. */
async function onRedis(rounds: number, what: "room" | "bullmq" | "grants"): Promise<unknown> {
  const redis = await startRedis(SUPPORT_CORE);
  try {
    const { pid } = redis.process;
    return await runProgram("redis-waiting-room", redis.url, String(pid), String(rounds), what);
  } finally {
    await redis.process.stop();
  }
}

async function redisFigures({ rounds, progress }: RunOptions): Promise<readonly Figure[]> {
  progress("redis");
  const room = (await onRedis(rounds, "room")) as Rates;
  progress("BullMQ");
  const bullMq = (await onRedis(rounds, "bullmq")) as Rates;
  progress("grants");
  const grants = (await onRedis(0, "grants")) as readonly number[];
  const name = "redis, two gateways: queued, granted, settled";
  return [
    {
      name,
      value: median(room.perSecond),
      unit: "/s",
      spread: spread(room.perSecond),
      peer: "BullMQ",
      ratio: medianRatio(room.perSecond, bullMq.perSecond),
      goal: { on: "value", kind: "at least", bound: REDIS_RATE_MIN },
    },
    {
      name: `${name}, CPU of Redis`,
      value: median(room.redisUs),
      unit: "µs",
      spread: spread(room.redisUs),
      peer: "BullMQ",
      ratio: medianRatio(room.redisUs, bullMq.redisUs),
    },
    {
      name: "redis: from a place given back to the next grant, 99th percentile",
      value: grants[Math.floor(grants.length * 0.99)],
      unit: "ms",
      goal: { on: "value", kind: "at most", bound: GRANT_MS_MAX },
    },
  ];
}

export const waitingRoom: Benchmark = {
  name: "waiting-room",
  async run(options) {
    requireTools("redis-server", "taskset");
    installPeers(options.progress);
    return [...(await localFigures(options)), ...(await redisFigures(options))];
  },
};
