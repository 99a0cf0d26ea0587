/** What an instance may publish, in bytes of UTF-8; who has learned more publishes a part of it. */
export const CALIBRATION_BYTES_MAX = 1 << 20;
/** Of more instances those that published longest ago are forgotten. */
export const CALIBRATION_INSTANCES_MAX = 64;
/** An instance that has published nothing for so long is forgotten: what it saw says nothing about today. */
export const CALIBRATION_KEEP_MS = 24 * 3_600_000;

/**
 * Where gateways on one store tell each other what their calls used: each publishes its own evidence under its own id, in place of what it published
 * before, and reads the others'. Nothing here is precious: losing it costs some calls' worth of learning.
 *
 * Both methods may reject with an `OperationalError` `store_unavailable`, within the store's deadline; whether something was published is then
 * unknown, and publishing it again is harmless. The clock is the store's own.
 *
 * Passing `test/contract/calibration-store.contract.ts` is the definition of being one.
 */
export interface CalibrationStore {
  /** `instance` is a name of up to 64 characters; `body` is whatever the instances understand, up to `CALIBRATION_BYTES_MAX`. Throws `RangeError` beyond. */
  publish(instance: string, body: string): Promise<void>;
  /** What every instance published last, the own included, as far as it is not forgotten. */
  load(): Promise<ReadonlyMap<string, string>>;
}

const INSTANCE_LENGTH_MAX = 64;

/** Throws `RangeError` for what no store takes. */
export function assertPublishable(instance: string, body: string): void {
  if (instance === "" || instance.length > INSTANCE_LENGTH_MAX) {
    throw new RangeError(`an instance's name has 1 to ${INSTANCE_LENGTH_MAX} characters`);
  }
  if (Buffer.byteLength(body) > CALIBRATION_BYTES_MAX) {
    throw new RangeError(
      `a calibration may have ${CALIBRATION_BYTES_MAX} bytes, not ${Buffer.byteLength(body)}`,
    );
  }
}
