import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decision } from "../../src/engine/admission.ts";
import type { GuardedOutcome, Held, Place } from "../../src/engine/guarded-outcome.ts";
import { type Try, WaitingCalls } from "../../src/engine/waiting-calls.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const NEVER = new Promise<never>(() => {});
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Places and tries by hand. */
function stage() {
  const tries: PromiseWithResolvers<Try<string>>[] = [];
  const left: string[] = [];
  const released: string[] = [];
  const decided: string[] = [];
  const place = (name: string, decision: Promise<GuardedOutcome> = NEVER): Place => ({
    kind: "waiting",
    expectedMs: 0,
    decision,
    leave: () => left.push(name),
  });
  const calls = new WaitingCalls<string>(
    {
      retry: () => {
        const next = Promise.withResolvers<Try<string>>();
        tries.push(next);
        return next.promise;
      },
      decide: async (ask) => {
        decided.push(ask);
        return { kind: "refused" } as Decision;
      },
      release: async (ask) => void released.push(ask),
      turnAway: () => ({ kind: "refused" }) as Decision,
    },
    new RecordingTelemetry(),
    new ManualClock(),
  );
  return { calls, tries, left, released, decided, place };
}

const held: GuardedOutcome = { kind: "held", held: {} as Held, overShadow: [], readings: [] };

test("WaitingCalls keeps a call under the newest limits when they change twice within a round trip, in whatever order the tries end", async () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const { calls, tries, left, place } = stage();
    calls.add("first", place("first"), "normal", false);
    calls.renew();
    calls.renew();
    assert.deepEqual(left, ["first"]);
    for (const index of order) {
      tries[index].resolve({ ask: `policy ${index}`, outcome: place(`policy ${index}`) });
      await turn();
    }
    assert.deepEqual(left, ["first", "policy 0"]);
  }
});

test("WaitingCalls gives back what an older try is granted, and is decided by the newest", async () => {
  const { calls, tries, released, decided, place } = stage();
  const waiting = calls.add("first", place("first"), "normal", false);
  calls.renew();
  calls.renew();
  tries[0].resolve({ ask: "policy 0", outcome: held });
  await turn();
  assert.deepEqual([released, decided], [["policy 0"], []]);
  tries[1].resolve({ ask: "policy 1", outcome: held });
  await waiting.decision;
  assert.deepEqual([released, decided], [["policy 0"], ["policy 1"]]);
});

test("WaitingCalls rejects a call whose newest try fails, and does not mind an older one", async () => {
  const { calls, tries, place } = stage();
  const waiting = calls.add("first", place("first"), "normal", false);
  calls.renew();
  calls.renew();
  tries[0].reject(new Error("older"));
  await turn();
  tries[1].reject(new Error("newest"));
  await assert.rejects(waiting.decision, { message: "newest" });
});
