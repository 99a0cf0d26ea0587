import type { Buffer } from "node:buffer";
import {
  assertPublishable,
  CALIBRATION_INSTANCES_MAX,
  CALIBRATION_KEEP_MS,
  type CalibrationStore,
} from "../../ports/calibration-store.ts";
import type { Clock } from "../../ports/clock.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { CALIBRATION } from "./scripts.ts";

/** Calibrations are shared by all, so they live where everything shared does. */
const REALM = 0;

/** One hash with an expiry, one field an instance, on the limit store's connection. */
export class RedisCalibrationStore implements CalibrationStore {
  readonly #connection: RedisConnection;
  readonly #key: string;
  readonly #clock: Clock | undefined;

  /** With a clock, for tests only, that one decides instead of the server's. */
  constructor(connection: RedisConnection, key: string, clock: Clock | undefined) {
    this.#connection = connection;
    this.#key = key;
    this.#clock = clock;
  }

  async publish(instance: string, body: string): Promise<void> {
    assertPublishable(instance, body);
    await this.#run(instance, body);
  }

  async load(): Promise<ReadonlyMap<string, string>> {
    const reply = (await this.#run("", "")) as readonly Buffer[];
    const published = new Map<string, string>();
    for (let i = 0; i + 1 < reply.length; i += 2) published.set(reply[i].toString(), reply[i + 1].toString());
    return published;
  }

  #run(instance: string, body: string): Promise<unknown> {
    const args = [`${CALIBRATION_KEEP_MS}`, `${CALIBRATION_INSTANCES_MAX}`, instance, body];
    const time = this.#clock === undefined ? [] : [`${this.#clock.nowMs()}`];
    return this.#connection.run(REALM, CALIBRATION, [this.#key], [...args, ...time]);
  }
}
