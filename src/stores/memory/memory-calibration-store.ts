import {
  assertPublishable,
  CALIBRATION_INSTANCES_MAX,
  CALIBRATION_KEEP_MS,
  type CalibrationStore,
} from "../../ports/calibration-store.ts";
import type { Clock } from "../../ports/clock.ts";

/** For one process: lets its parts share what they learned, and ends with it. */
export class MemoryCalibrationStore implements CalibrationStore {
  readonly #clock: Clock;
  /** In the order of publishing. */
  readonly #published = new Map<string, { readonly body: string; readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async publish(instance: string, body: string): Promise<void> {
    assertPublishable(instance, body);
    this.#published.delete(instance);
    this.#published.set(instance, { body, atMs: this.#clock.nowMs() });
    this.#forget();
  }

  async load(): Promise<ReadonlyMap<string, string>> {
    this.#forget();
    return new Map([...this.#published].map(([instance, { body }]) => [instance, body]));
  }

  #forget(): void {
    const oldestMs = this.#clock.nowMs() - CALIBRATION_KEEP_MS;
    for (const [instance, { atMs }] of this.#published) {
      if (atMs > oldestMs && this.#published.size <= CALIBRATION_INSTANCES_MAX) continue;
      this.#published.delete(instance);
    }
  }
}
