import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  CALIBRATION_BYTES_MAX,
  CALIBRATION_INSTANCES_MAX,
  CALIBRATION_KEEP_MS,
  type CalibrationStore,
} from "../../src/ports/calibration-store.ts";
import type { ManualClock } from "../support/manual-clock.ts";

export interface CalibrationStoreUnderTest {
  readonly clock: ManualClock;
  /** Two gateways' doors to the same store; the same object where a store serves only one process. */
  readonly stores: readonly [CalibrationStore, CalibrationStore];
  close(): Promise<void>;
}

/** What every calibration store must do. Tests leave nothing behind: each begins when all that was there is forgotten. */
export function calibrationStoreContract(name: string, open: () => Promise<CalibrationStoreUnderTest>): void {
  describe(name, () => {
    let opened: CalibrationStoreUnderTest;
    before(async () => {
      opened = await open();
    });
    after(() => opened.close());

    const fresh = async () => {
      const { clock, stores } = opened;
      clock.advance(CALIBRATION_KEEP_MS);
      assert.equal((await stores[0].load()).size, 0);
      return { clock, one: stores[0], other: stores[1] };
    };

    test(`${name} gives each what all have published last`, async () => {
      const { one, other } = await fresh();
      const texts = ['{"a":1}', "", "ü:…\u0000\n", "x".repeat(300_000)];
      for (const [i, text] of texts.entries()) await (i % 2 === 0 ? one : other).publish(`g${i}`, text);
      await other.publish("g0", "newer");
      const expected = new Map([...texts.entries()].map(([i, text]) => [`g${i}`, i === 0 ? "newer" : text]));
      assert.deepEqual(new Map([...(await one.load())].sort()), expected);
      assert.deepEqual(new Map([...(await other.load())].sort()), expected);
    });

    test(`${name} forgets those that have published nothing for a day (L10)`, async () => {
      const { clock, one, other } = await fresh();
      await one.publish("dead", "1");
      clock.advance(CALIBRATION_KEEP_MS / 2);
      await other.publish("alive", "2");
      clock.advance(CALIBRATION_KEEP_MS / 2 - 1);
      assert.deepEqual([...(await one.load()).keys()].sort(), ["alive", "dead"]);
      clock.advance(1);
      assert.deepEqual([...(await one.load()).keys()], ["alive"]);
      assert.deepEqual([...(await other.load()).keys()], ["alive"]);
    });

    test(`${name} keeps the newest of many instances (X5)`, async () => {
      const { clock, one, other } = await fresh();
      const names = Array.from({ length: CALIBRATION_INSTANCES_MAX + 10 }, (_, i) => `g${i}`);
      for (const instance of names) {
        clock.advance(1);
        await one.publish(instance, instance);
      }
      clock.advance(1);
      await other.publish(names[12], "again");
      const loaded = await other.load();
      assert.deepEqual([...loaded.keys()].sort(), names.slice(10).sort());
      assert.equal(loaded.get(names[12]), "again");
    });

    test(`${name} keeps what is published last of many in one moment (X5)`, async () => {
      const { one } = await fresh();
      for (let i = 0; i <= CALIBRATION_INSTANCES_MAX; i++) {
        // The last name is the first in the alphabet.
        await one.publish(`g${900 - i}`, "");
        assert.ok((await one.load()).has(`g${900 - i}`));
      }
      assert.equal((await one.load()).size, CALIBRATION_INSTANCES_MAX);
    });

    test(`${name} takes no name and no body that is too long (X5)`, async () => {
      const { one } = await fresh();
      const tooLong = "ü".repeat(CALIBRATION_BYTES_MAX / 2 + 1);
      await assert.rejects(one.publish("g", tooLong), RangeError);
      await assert.rejects(one.publish("", "x"), RangeError);
      await assert.rejects(one.publish("g".repeat(65), "x"), RangeError);
      assert.equal((await one.load()).size, 0);
    });
  });
}
