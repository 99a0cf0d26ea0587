import { type Dispatcher, Pool } from "undici";
import type { GatewayBounds } from "./gateway-settings.ts";

/** A provider closes idle connections after a minute or more; ours go first, so that no call is sent into a closing one. */
const KEEP_ALIVE_MS = 30_000;

/** Connections to the providers, one pool an origin, made when first needed. Owned by the gateway. */
export class Upstream {
  readonly #pools = new Map<string, Pool>();

  dispatch(
    origin: string,
    bounds: GatewayBounds,
    options: Omit<Dispatcher.DispatchOptions, "origin">,
    handler: Dispatcher.DispatchHandler,
  ): void {
    let pool = this.#pools.get(origin);
    if (pool === undefined) {
      pool = new Pool(origin, {
        pipelining: 1,
        keepAliveTimeout: KEEP_ALIVE_MS,
        headersTimeout: bounds.answerTimeoutMs,
        bodyTimeout: bounds.idleTimeoutMs,
        connect: { timeout: bounds.connectTimeoutMs },
      });
      this.#pools.set(origin, pool);
    }
    pool.dispatch(options, handler);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
    this.#pools.clear();
  }
}
