/**
 * What a million users cost who have four limits and each made one call (reserved and settled) a moment ago, and what is left of them when their windows
 * have passed.
 *
 * Embedded and memory: growth of the resident memory of the store's process after a full garbage collection, and of its JavaScript heap with
 * external memory, on a clock that is moved by hand. Afterwards the heap counts: pages that the allocator keeps for reuse are not a user's. Redis:
 * growth of `used_memory`; that they go away is shown with fewer users and windows of seconds, since Redis follows no other clock; it also
 * remembers closed reservations for a minute.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import type { LocalMemory } from "./programs/local-memory.ts";
import { requireTools } from "./support/debian-tool.ts";
import { MINUTE_AND_HOUR } from "./support/four-limits.ts";
import { SUPPORT_CORE } from "./support/pinned-process.ts";
import { redisClient, startRedis, usedMemoryBytes } from "./support/redis.ts";
import { runProgram } from "./support/run-program.ts";

const USERS = 1_000_000;
const LOCAL_BYTES_MAX = 600;
const REDIS_BYTES_MAX = 400;
/** A few numbers that do not grow with the users, spread over a million: all but nothing. */
const IDLE_BYTES_MAX = 5;

const FLEETING_USERS = 100_000;
const FLEETING_MS = 3_000;
/** Longer than a closed reservation is remembered, with time for Redis to find what has expired. */
const FLEETING_WAIT_MS_MAX = 120_000;
const POLL_MS = 500;

const atMost = (bound: number) => ({ on: "value", kind: "at most", bound }) as const;

async function local(
  kind: "memory" | "embedded",
  progress: RunOptions["progress"],
): Promise<readonly Figure[]> {
  progress(`a million users in ${kind}`);
  const measured = (await runProgram("local-memory", kind, String(USERS))) as LocalMemory;
  if (measured.idleSubjects > 0)
    throw new Error(`${kind} still remembers ${measured.idleSubjects} idle users`);
  const figure = (name: string, bytes: number): Figure => ({
    name: `${kind}, ${name}`,
    value: bytes / USERS,
    unit: "B",
  });
  const resident = figure("resident memory per user", measured.residentBytes);
  const idleHeap = figure("heap per user, windows passed", measured.idleHeapBytes);
  return [
    kind === "embedded" ? { ...resident, goal: atMost(LOCAL_BYTES_MAX) } : resident,
    figure("heap per user", measured.heapBytes),
    kind === "embedded" ? { ...idleHeap, goal: atMost(IDLE_BYTES_MAX) } : idleHeap,
    figure("resident memory per user, windows passed", measured.idleResidentBytes),
  ];
}

async function bytesPerUser(url: string, client: Redis, users: number, shortMs: number, longMs: number) {
  await client.flushall();
  const before = await usedMemoryBytes(client);
  await runProgram("redis-memory", url, String(users), String(shortMs), String(longMs));
  return { bytes: ((await usedMemoryBytes(client)) - before) / users, before };
}

/** Looks until no key is left: nothing announces that to everybody, so looking is all there is. */
async function untilEmpty(client: Redis): Promise<boolean> {
  const deadlineMs = Date.now() + FLEETING_WAIT_MS_MAX;
  while ((await client.dbsize()) > 0) {
    if (Date.now() > deadlineMs) return false;
    await delay(POLL_MS);
  }
  return true;
}

async function redis(progress: RunOptions["progress"]): Promise<readonly Figure[]> {
  const server = await startRedis(SUPPORT_CORE);
  const client = redisClient(server.port);
  try {
    progress("a million users in redis");
    const { short, long } = MINUTE_AND_HOUR;
    const lasting = await bytesPerUser(server.url, client, USERS, short, long);
    const keys = await client.dbsize();
    progress("users whose windows pass in redis");
    const fleeting = await bytesPerUser(server.url, client, FLEETING_USERS, FLEETING_MS, FLEETING_MS * 2);
    await untilEmpty(client);
    const left = (await usedMemoryBytes(client)) - fleeting.before;
    return [
      { name: "redis, used memory per user", value: lasting.bytes, unit: "B", goal: atMost(REDIS_BYTES_MAX) },
      { name: "redis, keys per user", value: (keys / USERS) * 100, unit: "%" },
      {
        name: "redis, per user, windows passed",
        value: Math.max(0, left / FLEETING_USERS),
        unit: "B",
        goal: atMost(IDLE_BYTES_MAX),
      },
    ];
  } finally {
    client.disconnect();
    await server.process.stop();
  }
}

export const memory: Benchmark = {
  name: "memory",
  async run({ progress }) {
    requireTools("redis-server", "taskset");
    return [
      ...(await local("embedded", progress)),
      ...(await local("memory", progress)),
      ...(await redis(progress)),
    ];
  },
};
