import assert from "node:assert/strict";
import { test } from "node:test";
import { PendingSteps } from "../../src/engine/pending-steps.ts";
import type { LimitStore, SettleRequest } from "../../src/ports/limit-store.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const request = (sequence: number): SettleRequest => ({ id: { instance: 1, sequence }, subjects: [] });

test("PendingSteps retry resolves when a try that was under way has ended: a shutdown waits for it (X6)", async () => {
  const settled: number[] = [];
  const first = Promise.withResolvers<void>();
  const settle = async ({ id }: SettleRequest) => {
    if (id.sequence === 1) await first.promise;
    settled.push(id.sequence);
    return "settled";
  };
  const steps = new PendingSteps({ settle } as unknown as LimitStore, new RecordingTelemetry(), () => {});
  for (let sequence = 1; sequence <= 5; sequence++)
    steps.keep({ step: "settle", request: request(sequence) });
  void steps.retry();
  const last = steps.retry();
  first.resolve();
  await last;
  assert.deepEqual([settled, steps.size], [[1, 2, 3, 4, 5], 0]);
});

test("PendingSteps keep is bounded: what is beyond is counted as unsettled (L12)", () => {
  const telemetry = new RecordingTelemetry();
  const steps = new PendingSteps({} as LimitStore, telemetry, () => {});
  for (let sequence = 0; sequence <= 20_000; sequence++)
    steps.keep({ step: "settle", request: request(sequence) });
  assert.equal(steps.size, 20_000);
  assert.equal(telemetry.counted("reservation-unsettled"), 1);
});

test("PendingSteps retry gives up a step that the store refuses for good, and goes on with the others (L12)", async () => {
  const settled: number[] = [];
  const settle = async ({ id }: SettleRequest) => {
    if (id.sequence === 2) throw new TypeError("a script answered nonsense");
    settled.push(id.sequence);
    return "settled";
  };
  const telemetry = new RecordingTelemetry();
  const done: number[] = [];
  const steps = new PendingSteps({ settle } as unknown as LimitStore, telemetry, (step) =>
    done.push(step.request.id.sequence),
  );
  for (const sequence of [1, 2, 3]) steps.keep({ step: "settle", request: request(sequence) });
  await steps.retry();
  assert.deepEqual([settled, done, steps.size], [[1, 3], [1, 3], 0]);
  assert.equal(telemetry.counted("reservation-unsettled"), 1);
  assert.match(telemetry.lines.join(), /error a step could not be repeated .*a script answered nonsense/);
});
