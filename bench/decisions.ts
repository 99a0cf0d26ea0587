/**
 * How many decisions a second: a reserve and its settle on one user's four rolling limits (requests and model tokens, a minute and an hour), 10,000 users in
 * turn, 256 calls in flight, the deciding process alone on one core.
 *
 * Memory and embedded: reserve and settle together are one decision; embedded is durable as by default (each turn of the event loop is one commit, which
 * survives the death of the process). Redis, on the other core: the rates of the two steps, each beside a trivial EVALSHA (`return 1`) through the same
 * client library with as many in flight, and beside rate-limiter-flexible consuming from four RateLimiterRedis at once, which checks but never settles.
 * The CPU time of Redis is the steadier figure.
 */
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import type { RedisDecisions, RedisStep } from "./programs/redis-decisions.ts";
import { requireTools } from "./support/debian-tool.ts";
import { installPeers } from "./support/peers.ts";
import { SUPPORT_CORE } from "./support/pinned-process.ts";
import { startRedis } from "./support/redis.ts";
import { median, medianRatio, spread } from "./support/rounds.ts";
import { runProgram } from "./support/run-program.ts";

const LOCAL_RATE_MIN = { memory: 500_000, embedded: 100_000 } as const;
const TRIVIAL_SHARE_MIN = 0.6;
const FLEXIBLE_RATIO_MIN = 2;

const NAMES: Readonly<Record<RedisStep, string>> = {
  trivial: "trivial EVALSHA",
  reserve: "redis reserve",
  settle: "redis settle",
  rateLimiterFlexible: "rate-limiter-flexible, 4 limits",
};

async function localRate(
  kind: "memory" | "embedded",
  { rounds, seconds, progress }: RunOptions,
): Promise<Figure> {
  progress(kind);
  const rates = (await runProgram("local-decisions", kind, String(rounds), String(seconds))) as number[];
  return {
    name: `${kind} reserve + settle`,
    value: median(rates),
    unit: "/s",
    spread: spread(rates),
    goal: { on: "value", kind: "at least", bound: LOCAL_RATE_MIN[kind] },
  };
}

function besides(all: RedisDecisions, step: RedisStep, peer: RedisStep, bound?: number): Figure {
  const values = all[step].perSecond;
  return {
    name: NAMES[step],
    value: median(values),
    unit: "/s",
    spread: spread(values),
    peer: NAMES[peer],
    ratio: medianRatio(values, all[peer].perSecond),
    ...(bound !== undefined && { goal: { on: "ratio", kind: "at least", bound } as const }),
  };
}

function redisCpu(all: RedisDecisions, step: RedisStep): Figure {
  const values = all[step].redisUs;
  return {
    name: `${NAMES[step]}, CPU of Redis`,
    value: median(values),
    unit: "µs",
    spread: spread(values),
    ...(step !== "trivial" && { peer: NAMES.trivial, ratio: medianRatio(values, all.trivial.redisUs) }),
  };
}

async function redisFigures({ rounds, progress }: RunOptions): Promise<readonly Figure[]> {
  progress("redis");
  const redis = await startRedis(SUPPORT_CORE);
  try {
    const args = [redis.url, String(redis.process.pid), String(rounds)];
    const all = (await runProgram("redis-decisions", ...args)) as RedisDecisions;
    const trivial = all.trivial.perSecond;
    return [
      { name: NAMES.trivial, value: median(trivial), unit: "/s", spread: spread(trivial) },
      besides(all, "reserve", "trivial", TRIVIAL_SHARE_MIN),
      besides(all, "settle", "trivial", TRIVIAL_SHARE_MIN),
      besides(all, "reserve", "rateLimiterFlexible", FLEXIBLE_RATIO_MIN),
      besides(all, "rateLimiterFlexible", "trivial"),
      ...(["trivial", "reserve", "settle", "rateLimiterFlexible"] as const).map((step) =>
        redisCpu(all, step),
      ),
    ];
  } finally {
    await redis.process.stop();
  }
}

export const decisions: Benchmark = {
  name: "decisions",
  async run(options) {
    requireTools("redis-server", "taskset");
    installPeers(options.progress);
    return [
      await localRate("memory", options),
      await localRate("embedded", options),
      ...(await redisFigures(options)),
    ];
  },
};
