// What limits cost in Redis: `node bench/redis-store.ts`. Starts its own server, pinned to one core; this process should be pinned to another.
// Prints the rates of reserve and settle beside that of a trivial script on the same connection, and the memory of a user.
import { spawnSync } from "node:child_process";
import { performance } from "node:perf_hooks";
import { Redis } from "ioredis";
import type { LimitSpec } from "../src/core/limits/limit-spec.ts";
import type { ReservationId, ReserveRequest, SettleRequest } from "../src/ports/limit-store.ts";
import { openRedisLimitStore } from "../src/stores/redis/open-redis-limit-store.ts";
import type { RedisLimitStore } from "../src/stores/redis/redis-limit-store.ts";
import { type RedisServer, startRedisServer } from "../test/support/redis-server.ts";

const IN_FLIGHT = 200;
const USERS = 10_000;
/** A round is a call of each user, so that each has one call open at a time. */
const ROUNDS = 15;
/** So long that a busy machine does not end the measurement. */
const DEADLINE_MS = 5_000;
const MEMORY_USERS = 100_000;
const TTL_MS = 3_600_000;
const INSTANCE = 123_456_789_012;

const rolling = (id: number, windowMs: number): LimitSpec => ({
  id,
  algorithm: "rolling_window",
  capacity: 1e12,
  windowMs,
  grainMs: windowMs / 10,
  shadow: false,
});
const SPECS = [60_000, 3_600_000, 60_000, 86_400_000].map((windowMs, i) =>
  rolling(234_567_890_123 + i, windowMs),
);
const HOLDS = [1, 1, 1_500, 4_500_000];
const USED = [1, 1, 1_200, 3_600_000];

const id = (sequence: number): ReservationId => ({ instance: INSTANCE, sequence });
const reserveRequest = (user: string, sequence: number): ReserveRequest => ({
  id: id(sequence),
  ttlMs: TTL_MS,
  subjects: [{ key: user, charges: SPECS.map((spec, i) => ({ spec, hold: HOLDS[i], need: HOLDS[i] })) }],
});
const settleRequest = (user: string, sequence: number): SettleRequest => ({
  id: id(sequence),
  subjects: [{ key: user, charges: SPECS.map((spec, i) => ({ spec, actual: USED[i] })) }],
});

interface Measured {
  readonly perSecond: number;
  /** Of the server's own processor time. */
  readonly serverMicros: number;
  readonly clientMicros: number;
}

/** Runs `call(0 … count − 1)` with many in flight. */
async function measure(
  server: Redis,
  count: number,
  call: (index: number) => Promise<unknown>,
): Promise<Measured> {
  const before = await serverSeconds(server);
  const own = process.cpuUsage();
  const start = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(own);
  const used = (await serverSeconds(server)) - before;
  return {
    perSecond: count / seconds,
    serverMicros: (used / count) * 1e6,
    clientMicros: (user + system) / count,
  };
}

async function serverSeconds(server: Redis): Promise<number> {
  const info = await server.info("cpu");
  const value = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return value("used_cpu_user") + value("used_cpu_sys");
}

async function usedMemory(server: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await server.info("memory"))?.[1]);
}

async function rates(server: Redis, store: RedisLimitStore): Promise<void> {
  const sha = String(await server.script("LOAD", "return 1"));
  const rows = new Map<string, Measured[]>();
  const note = (name: string, measured: Measured) => rows.set(name, [...(rows.get(name) ?? []), measured]);
  let sequence = 1;
  for (let round = -2; round < ROUNDS; round++) {
    const first = sequence;
    sequence += USERS;
    const user = (index: number) => `user=user-${index}`;
    const measured: [string, Measured][] = [
      ["return 1", await measure(server, USERS, (i) => server.callBuffer("evalsha", sha, 1, user(i)))],
      ["reserve", await measure(server, USERS, (i) => store.reserve(reserveRequest(user(i), first + i)))],
      ["settle", await measure(server, USERS, (i) => store.settle(settleRequest(user(i), first + i)))],
    ];
    // The first rounds warm both sides up.
    if (round >= 0) for (const [name, result] of measured) note(name, result);
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const base = median(rows.get("return 1")!.map(({ perSecond }) => perSecond));
  for (const [name, results] of rows) {
    const perSecond = median(results.map((result) => result.perSecond));
    const micros = median(results.map((result) => result.serverMicros));
    const client = median(results.map((result) => result.clientMicros));
    console.log(
      `${name.padEnd(10)} ${perSecond.toFixed(0).padStart(7)}/s  ${((100 * perSecond) / base).toFixed(0).padStart(4)} %  ${micros.toFixed(1)} µs of the server, ${client.toFixed(1)} µs of the client`,
    );
  }
}

async function memory(server: Redis, url: string): Promise<void> {
  await server.flushall();
  const before = await usedMemory(server);
  const store = await openRedisLimitStore({ url, deadlineMs: DEADLINE_MS });
  await measure(server, MEMORY_USERS, async (i) => {
    await store.reserve(reserveRequest(`user=user-${i}`, i));
    await store.settle(settleRequest(`user=user-${i}`, i));
  });
  // The buffers of its connection are not the users'.
  await store.close();
  const bytes = ((await usedMemory(server)) - before) / MEMORY_USERS;
  const key = String(await server.randomkey());
  const [usage, value] = [await server.memory("USAGE", key), await server.strlen(key)];
  console.log(
    `memory     ${bytes.toFixed(0)} bytes a user, ${usage} of them by MEMORY USAGE, ${value} its value`,
  );
}

async function main(): Promise<void> {
  const server: RedisServer = await startRedisServer();
  const pin = (core: string, pid: number) => spawnSync("taskset", ["-acp", core, String(pid)]);
  pin("1", server.pid);
  pin("0", process.pid);
  const client = new Redis(server.url);
  const store = await openRedisLimitStore({ url: server.url, deadlineMs: DEADLINE_MS });
  try {
    await rates(client, store);
    await memory(client, server.url);
  } finally {
    await store.close();
    client.disconnect();
    await server.stop();
  }
}

await main();
