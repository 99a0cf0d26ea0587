import { Redis } from "ioredis";
import { freePort } from "./free-port.ts";
import { type PinnedProcess, startPinned, untilListening } from "./pinned-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly process: PinnedProcess;
}

/** A Redis that keeps nothing on disk, on one core, in a temporary directory. */
export async function startRedis(core: number): Promise<RedisServer> {
  const port = await freePort();
  const options = {
    port,
    bind: "127.0.0.1",
    save: "",
    appendonly: "no",
    dir: temporaryDirectory("redis"),
    "maxmemory-policy": "noeviction",
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const process = startPinned(core, ["redis-server", ...args]);
  await untilListening(port, process);
  return { port, url: `redis://127.0.0.1:${port}/0`, process };
}

export const redisClient = (port: number) => new Redis({ host: "127.0.0.1", port, maxRetriesPerRequest: 0 });

/** What the data takes, in bytes, without what an empty server has. */
export async function usedMemoryBytes(client: Redis): Promise<number> {
  const match = /^used_memory:(\d+)/m.exec(await client.info("memory"));
  if (match === null) throw new Error("Redis does not say how much memory it uses");
  return Number(match[1]);
}
