import assert from "node:assert/strict";
import { test } from "node:test";
import { CALIBRATION_KEEP_MS } from "../../../src/ports/calibration-store.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { calibrationStoreContract } from "../../contract/calibration-store.contract.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startRedisCluster } from "../../support/redis-cluster.ts";
import { startRedisServer } from "../../support/redis-server.ts";

function contract(
  name: string,
  start: () => Promise<{ readonly url: string; stop(): Promise<void> }>,
  query = "",
): void {
  calibrationStoreContract(name, async () => {
    const backend = await start();
    const clock = new ManualClock();
    const open = () => openRedisLimitStore({ url: `${backend.url}${query}`, clock });
    const [one, other] = [await open(), await open()];
    return {
      clock,
      stores: [one.calibrations, other.calibrations],
      close: async () => {
        await Promise.all([one.close(), other.close()]);
        await backend.stop();
      },
    };
  });
}

contract("RedisCalibrationStore on one server", () => startRedisServer());
contract("RedisCalibrationStore on a cluster in eight realms", () => startRedisCluster(), "?realms=8");

test("RedisCalibrationStore keeps one key, and it expires (L10)", async () => {
  const server = await startRedisServer();
  const store = await openRedisLimitStore({ url: server.url });
  try {
    for (const instance of ["a", "b"]) await store.calibrations.publish(instance, "x");
    assert.deepEqual([...(await store.calibrations.load()).keys()].sort(), ["a", "b"]);
    const keys = (await server.command("KEYS", "*calibrations*")) as readonly string[];
    assert.equal(keys.length, 1);
    const ttlMs = Number(await server.command("PTTL", keys[0]));
    assert.ok(ttlMs > 0 && ttlMs <= CALIBRATION_KEEP_MS, `${ttlMs}`);
  } finally {
    await store.close();
    await server.stop();
  }
});

test("RedisCalibrationStore rejects as unavailable while there is no server (L12)", async () => {
  const server = await startRedisServer();
  const store = await openRedisLimitStore({ url: server.url });
  await server.stop();
  await assert.rejects(store.calibrations.publish("a", "x"), { code: "store_unavailable" });
  await assert.rejects(store.calibrations.load(), { code: "store_unavailable" });
  await store.close();
});
