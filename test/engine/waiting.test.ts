import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Usage } from "../../src/core/estimate/usage.ts";
import { CompiledPolicy } from "../../src/core/policy/compiled-policy.ts";
import type { LimitRule } from "../../src/core/policy/policy.ts";
import type { Admission } from "../../src/engine/admission.ts";
import { Engine } from "../../src/engine/engine.ts";
import { systemClock } from "../../src/ports/clock.ts";
import type { LimitStore } from "../../src/ports/limit-store.ts";
import type { PermitCall, PermitDecision, PermitQueue } from "../../src/ports/permit-queue.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { limitRule, planOf, ROOM } from "../support/limit-rules.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";
import { until } from "../support/until.ts";

const ONE = limitRule({
  name: "one",
  meter: "concurrency",
  limit: 1,
  window: { kind: "open" },
  scope: ["global"],
});
const usage = (outputTokens: number): Usage => ({
  inputTokens: 10,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
});

const policyOf = (limits: readonly LimitRule[], maxWaitMs = 60_000) =>
  new CompiledPolicy({
    plans: new Map([["p", { ...planOf("p", limits), whenLimited: "wait", maxWaitMs }]]),
    limits: [],
    accountLimits: new Map(),
    outputTokensDefault: 500,
    room: ROOM,
  });

async function start(t: TestContext, policy: CompiledPolicy, store: LimitStore = new MemoryLimitStore()) {
  const fallback = new MemoryLimitStore();
  const telemetry = new RecordingTelemetry();
  const engine = new Engine({ store, fallback, policy, telemetry, clock: systemClock });
  await engine.start();
  t.after(async () => {
    await engine.stop();
    await store.close();
    await fallback.close();
  });
  const admit = (user: string) =>
    engine.admit({
      caller: { user, plan: "p" },
      target: { endpoint: "chat_completions", model: "gpt-4o-mini" },
      size: { inputTokens: 10, outputTokensMax: 1_000 },
      bytes: 0,
    });
  return { engine, admit, telemetry };
}

function admitted(admission: Admission) {
  return admission.kind === "admitted" ? admission.reservation : assert.fail(admission.kind);
}
function waiting(admission: Admission) {
  return admission.kind === "waiting" ? admission : assert.fail(admission.kind);
}

test("Engine lets the next one go when a call is given up before it was sent (Q8)", async (t) => {
  const { admit } = await start(t, policyOf([ONE]));
  const first = admitted(await admit("a"));
  const next = waiting(await admit("b"));
  await first.release();
  // Now, and not when the next look is due.
  const soon = new Promise<never>((_, reject) => setTimeout(reject, 600, new Error("not at once")).unref());
  await admitted(await Promise.race([next.decision, soon])).settle(usage(1));
});

test("Engine counts what calls have really used for whose turn it is (Q1)", async (t) => {
  const { admit } = await start(t, policyOf([ONE]));
  const holder = admitted(await admit("z"));
  // Both are expected to write as much; what the frugal one really writes is next to nothing.
  const calls: Promise<void>[] = [];
  const order: string[] = [];
  for (const name of ["frugal 1", "lavish 1", "lavish 2", "frugal 2", "frugal 3"]) {
    const [user] = name.split(" ");
    const { decision } = waiting(await admit(user));
    const work = async () => {
      const reservation = admitted(await decision);
      order.push(name);
      await reservation.settle(usage(user === "frugal" ? 1 : 1_000), "counted");
    };
    calls.push(work());
  }
  await holder.settle(usage(1));
  await Promise.all(calls);
  // The frugal user's three calls together have used less than the other's first: all of them go before its second.
  assert.deepEqual(order, ["frugal 1", "lavish 1", "frugal 2", "frugal 3", "lavish 2"]);
});

test("Engine goes on counting a wait when the limits change in the middle of it (Q4)", async (t) => {
  const { engine, admit } = await start(t, policyOf([ONE], 600));
  const holder = admitted(await admit("a"));
  const startedMs = performance.now();
  const { decision } = waiting(await admit("b"));
  setTimeout(() => engine.usePolicy(policyOf([ONE], 600)), 400);
  const refused = await decision;
  const tookMs = performance.now() - startedMs;
  assert.ok(refused.kind === "refused" && refused.refusal.code === "queue_timeout");
  // Not 400 ms and then 600 more.
  assert.ok(tookMs >= 590 && tookMs < 950, `${tookMs}`);
  await holder.settle(usage(1));
});

/** A queue that decides when a test says so, and after its calls have left. */
class LatePermits implements PermitQueue {
  readonly entered: { readonly call: PermitCall; readonly grant: () => void }[] = [];
  readonly #store: LimitStore;

  constructor(store: LimitStore) {
    this.#store = store;
  }

  async enter(call: PermitCall): ReturnType<PermitQueue["enter"]> {
    const outcome = await this.#store.reserve(call);
    assert.ok(outcome.kind === "admitted");
    type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;
    const { promise, resolve } = Promise.withResolvers<Decided>();
    this.entered.push({ call, grant: () => resolve({ kind: "granted", outcome, isCounted: true }) });
    return { kind: "waiting", expectedMs: 1, decision: promise, leave: () => {} };
  }

  freed(): void {}

  look = async () => ({ total: 0, first: [] });
}

async function startLate(t: TestContext) {
  const memory = new MemoryLimitStore();
  const permits = new LatePermits(memory);
  const store = new Proxy(memory, {
    get: (target, name) => {
      if (name === "permits") return permits;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { engine, admit } = await start(t, policyOf([ONE]), store);
  const held = async () => {
    const [view] = await engine.limits({ user: "a", plan: "p" }, { model: "" });
    return view.reading.held;
  };
  return { engine, admit, permits, held };
}

test("Engine gives back a permit that comes when its call has left (Q5, L7)", async (t) => {
  const { engine, admit, permits, held } = await startLate(t);
  const leaving = waiting(await admit("a"));
  leaving.leave();
  permits.entered[0].grant();
  await until(async () => (await held()) === 0);
  assert.equal(engine.waitingLengths().size, 0);
});

test("Engine gives back a permit whose call leaves in the moment in which it is granted (Q5, L7)", async (t) => {
  const { engine, admit, permits, held } = await startLate(t);
  for (const leaveAfterTurns of [0, 1, 2, 3, 10]) {
    const leaving = waiting(await admit("a"));
    permits.entered.at(-1)?.grant();
    for (let i = 0; i < leaveAfterTurns; i++) await undefined;
    leaving.leave();
    leaving.leave();
    await until(async () => (await held()) === 0);
  }
  assert.equal(engine.waitingLengths().size, 0);
});
