import { randomInt } from "node:crypto";
import { type Clock, systemClock } from "../ports/clock.ts";
import type { LimitStore, ReservationId } from "../ports/limit-store.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { isUnavailable } from "./pending-steps.ts";

/** How long a dead gateway's concurrency stays taken (L9). */
export const LEASE_MS = 30_000;
/** Often enough that gateways learn of each other within seconds (they share limits out while the store is away), and renew a lease that the store has lost. */
const BEAT_MS = LEASE_MS / 10;
/** While the store is away: soon enough that nobody notices that it is back. And once after the start, to learn of gateways that started together. */
const RETRY_MS = 1_000;
/** `randomInt` takes no more than 48 bits, and no more are needed: a collision within a lease takes ten million gateways. */
const INSTANCE_MAX = 2 ** 48 - 1;

/**
 * This gateway's name in the store, and the heartbeat that keeps it alive there. A gateway that was paused for longer than its lease has been
 * given up by the others: it goes on under a new name, so that what it closes late cannot be taken for what it opens now.
 */
export class Lease {
  readonly #store: LimitStore;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  #instance = randomInt(1, INSTANCE_MAX);
  #sequence = 0;
  #renewedMs = 0;
  #gateways = 1;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(store: LimitStore, telemetry: Telemetry, clock: Clock = systemClock) {
    this.#store = store;
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  /** How many gateways share the store, as of the last beat. At least 1. */
  get gateways(): number {
    return this.#gateways;
  }

  /** Begins to beat; the first beat has been tried when this resolves. Never rejects. */
  async start(onBeat: (succeeded: boolean) => void = () => {}): Promise<void> {
    await this.#beat(onBeat);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  nextId(): ReservationId {
    this.#sequence += 1;
    return { instance: this.#instance, sequence: this.#sequence };
  }

  async #beat(onBeat: (succeeded: boolean) => void): Promise<void> {
    if (this.#renewedMs > 0 && this.#clock.nowMs() - this.#renewedMs >= LEASE_MS) {
      this.#instance = randomInt(1, INSTANCE_MAX);
      this.#sequence = 0;
    }
    const isFirst = this.#renewedMs === 0;
    let succeeded = true;
    try {
      this.#gateways = Math.max(1, await this.#store.beat(this.#instance, LEASE_MS));
      this.#renewedMs = this.#clock.nowMs();
    } catch (error) {
      succeeded = false;
      if (!isUnavailable(error)) this.#telemetry.log("error", "a heartbeat failed", { error: String(error) });
    }
    if (this.#stopped) return;
    onBeat(succeeded);
    this.#timer = setTimeout(
      () => void this.#beat(onBeat),
      succeeded && !isFirst ? BEAT_MS : RETRY_MS,
    ).unref();
  }
}
