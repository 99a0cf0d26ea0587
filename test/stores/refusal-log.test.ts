import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusalLog } from "../../src/stores/redis/refusal-log.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

test("RefusalLog says each kind of error once a minute: what an operator can change as a warning, the rest as an error", () => {
  const telemetry = new RecordingTelemetry();
  const log = new RefusalLog(telemetry);
  for (let i = 0; i < 3; i++) {
    log.refused(new Error("OOM command not allowed when used memory > 'maxmemory'."), 1_000 + i);
    log.refused(new Error(`ERR Error running script: attempt to index a nil value ${i}`), 2_000 + i);
  }
  assert.deepEqual(
    telemetry.lines.map((line) => line.split(" ", 1)[0]),
    ["warn", "error"],
  );
  log.refused(new Error("OOM again"), 60_999);
  assert.equal(telemetry.lines.length, 2);
  log.refused(new Error("OOM again"), 61_000);
  assert.equal(telemetry.lines.length, 3);
});

test("RefusalLog remembers a bounded number of kinds, and says long errors in part (X3)", () => {
  const telemetry = new RecordingTelemetry();
  const log = new RefusalLog(telemetry);
  for (let i = 0; i < 1_000; i++) {
    log.refused(
      new Error(
        `K${"ABCDEFGHIJ"[i % 10]}${"ABCDEFGHIJ"[Math.floor(i / 10) % 10]}${"ABCDEFGHIJ"[Math.floor(i / 100)]} ${"x".repeat(10_000)}`,
      ),
      i,
    );
  }
  assert.ok(telemetry.lines.length <= 33, `${telemetry.lines.length} lines`);
  assert.ok(telemetry.lines.every((line) => line.length < 700));
});
