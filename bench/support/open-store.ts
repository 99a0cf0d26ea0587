import type { Clock } from "../../src/ports/clock.ts";
import type { LimitStore } from "../../src/ports/limit-store.ts";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { openRedisLimitStore } from "../../src/stores/redis/open-redis-limit-store.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** Far beyond what any step takes while hundreds are in flight, so that none is given up while its time is measured. */
const REDIS_DEADLINE_MS = 10_000;

/** What memory and embedded have beside the port. */
export type LocalStore = LimitStore & { readonly size: number; sweep(): void };

export function openLocalStore(kind: "memory" | "embedded", clock: Clock): LocalStore {
  return kind === "memory"
    ? new MemoryLimitStore(clock)
    : new EmbeddedLimitStore({ directory: temporaryDirectory("store"), clock });
}

export const openRedisStore = (url: string): Promise<LimitStore> =>
  openRedisLimitStore({ url, deadlineMs: REDIS_DEADLINE_MS });
