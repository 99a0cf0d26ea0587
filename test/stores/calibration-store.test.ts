import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { calibrationStoreContract } from "../contract/calibration-store.contract.ts";
import { ManualClock } from "../support/manual-clock.ts";

function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), "sluice-calibration-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

calibrationStoreContract("MemoryCalibrationStore", async () => {
  const clock = new ManualClock();
  const store = new MemoryLimitStore(clock);
  return { clock, stores: [store.calibrations, store.calibrations], close: () => store.close() };
});

calibrationStoreContract("EmbeddedCalibrationStore", async () => {
  const clock = new ManualClock();
  const { directory, remove } = temporaryDirectory();
  const store = new EmbeddedLimitStore({ directory, clock });
  return {
    clock,
    stores: [store.calibrations, store.calibrations],
    close: async () => {
      await store.close();
      remove();
    },
  };
});

test("EmbeddedCalibrationStore finds what was published again after a restart (X6)", async () => {
  const { directory, remove } = temporaryDirectory();
  const clock = new ManualClock();
  const first = new EmbeddedLimitStore({ directory, clock });
  await first.calibrations.publish("a", "learned");
  await first.close();
  await assert.rejects(first.calibrations.load(), { code: "store_unavailable" });
  const second = new EmbeddedLimitStore({ directory, clock });
  assert.deepEqual([...(await second.calibrations.load())], [["a", "learned"]]);
  await second.close();
  remove();
});
