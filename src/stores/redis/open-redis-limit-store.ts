import { OperationalError } from "../../core/operational-error.ts";
import type { Clock } from "../../ports/clock.ts";
import { silentTelemetry, type Telemetry } from "../../ports/telemetry.ts";
import { RedisLimitStore } from "./redis-limit-store.ts";
import { checkRealms, parseRedisUrl } from "./redis-url.ts";

/** With the ticks of its timer this stays below the 250 ms within which a limit's policy must answer instead (L12). */
const DEADLINE_MS = 200;
/** Starting waits for so long for the first connection, so that the first calls find one. */
const START_MS = 1_000;

export interface OpenRedisOptions {
  /** `redis://H:P/DB`, `rediss://…` or `redis-cluster://H:P,H:P?realms=N`. */
  readonly url: string;
  /** Starts every key. Default `sluice:`. */
  readonly keyPrefix?: string;
  /** The longest that any call to the store takes, in milliseconds. Default 200. */
  readonly deadlineMs?: number;
  /** Over how many hash tags a cluster's keys are spread. Wins over the URL's; default 1. All gateways must agree. */
  readonly realms?: number;
  readonly telemetry?: Telemetry;
  /** Tests only: decides instead of the server's clock. */
  readonly clock?: Clock;
}

/**
 * A limit store on Redis ≥ 6.2, Valkey, or a cluster of either. Resolves once connected, or after a second without: then the store is
 * `store_unavailable` until Redis is back. Throws `OperationalError` `invalid_configuration` for a bad URL.
 */
export async function openRedisLimitStore(options: OpenRedisOptions): Promise<RedisLimitStore> {
  const { keyPrefix = "sluice:", deadlineMs = DEADLINE_MS, telemetry = silentTelemetry } = options;
  const address = parseRedisUrl(options.url);
  const realms = options.realms ?? address.realms ?? 1;
  checkRealms(realms);
  if (/[{}]/.test(keyPrefix)) {
    throw new OperationalError(
      "invalid_configuration",
      "the store's key prefix must not have braces: they mark hash tags",
    );
  }
  const store = new RedisLimitStore({
    address,
    keyPrefix,
    realms,
    deadlineMs,
    telemetry,
    clock: options.clock,
  });
  await store.start(START_MS);
  return store;
}
