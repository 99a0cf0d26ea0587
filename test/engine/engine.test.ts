import assert from "node:assert/strict";
import { test } from "node:test";
import type { Usage } from "../../src/core/estimate/usage.ts";
import type { CallSize } from "../../src/core/policy/charges.ts";
import { CompiledPolicy } from "../../src/core/policy/compiled-policy.ts";
import type { LimitRule, StoreFailurePolicy } from "../../src/core/policy/policy.ts";
import type { Admission } from "../../src/engine/admission.ts";
import { CallEstimates } from "../../src/engine/call-estimates.ts";
import { Engine } from "../../src/engine/engine.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { ROOM } from "../support/limit-rules.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";
import { UnreliableStore } from "../support/unreliable-store.ts";

const rule = (rest: Partial<LimitRule>): LimitRule => ({
  name: "requests-1m",
  meter: "requests",
  limit: 10,
  window: { kind: "rolling", windowMs: 60_000 },
  scope: ["user"],
  match: {},
  mode: "enforce",
  reserve: "expected",
  onStoreFailure: "local",
  onExhausted: "continue",
  weights: { input: 1, cachedInput: 1, output: 1 },
  ...rest,
});

const usage = (inputTokens: number, outputTokens: number): Usage => ({
  inputTokens,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens,
  reasoningTokens: 0,
});

const CALLER = { user: "alice", plan: "free" };
const TARGET = { endpoint: "chat_completions", model: "gpt-4o-mini" } as const;
const SIZE = { inputTokens: 100, outputTokensMax: 50 };

async function startEngine(limits: readonly LimitRule[]) {
  const clock = new ManualClock();
  const memory = new MemoryLimitStore(clock);
  const store = new UnreliableStore(memory);
  const fallback = new MemoryLimitStore(clock);
  const telemetry = new RecordingTelemetry();
  const policy = new CompiledPolicy({
    plans: new Map([
      [
        "free",
        {
          name: "free",
          priority: "normal",
          weight: 1,
          limits,
          whenLimited: "reject",
          maxWaitMs: 0,
          keepalive: false,
          unreadCalls: "pass" as const,
        },
      ],
    ]),
    limits: [],
    accountLimits: new Map(),
    outputTokensDefault: 500,
    room: ROOM,
  });
  const engine = new Engine({ store, fallback, policy, telemetry, clock });
  await engine.start();
  const admit = (size: CallSize = SIZE) => engine.admit({ caller: CALLER, target: TARGET, size, bytes: 0 });
  const amounts = async () =>
    (await engine.limits(CALLER, { model: "" })).map(({ reading }) => [reading.used, reading.held]);
  const stop = async () => {
    await engine.stop();
    await store.close();
    await fallback.close();
  };
  return { clock, store, telemetry, engine, admit, amounts, stop };
}

async function admitted(admission: Promise<Admission>) {
  const result = await admission;
  assert.equal(result.kind, "admitted");
  return result.kind === "admitted" ? result.reservation : assert.fail();
}

test("Engine holds an estimate, settles to the usage, and counts the difference back (L7)", async () => {
  const { admit, amounts, stop } = await startEngine([
    rule({}),
    rule({ name: "tokens-1m", meter: "tokens", limit: 1_000 }),
  ]);
  const reservation = await admitted(admit());
  assert.deepEqual(await amounts(), [
    [0, 1],
    [0, 150],
  ]);
  await reservation.settle(usage(90, 20));
  await reservation.settle(usage(90, 20));
  await reservation.release();
  assert.deepEqual(await amounts(), [
    [1, 0],
    [110, 0],
  ]);
  await stop();
});

test("Engine charges an answer that was cut the input that calls like it have used, not the bare estimate (E1, S2)", async () => {
  const { admit, amounts, stop } = await startEngine([
    rule({ name: "input", meter: "input_tokens", limit: 1_000_000 }),
  ]);
  for (let i = 0; i < 250; i++) {
    await (await admitted(admit())).settle(usage(130, 10), "reported");
  }
  const [[before]] = await amounts();
  await (await admitted(admit())).settle(usage(SIZE.inputTokens, 10), "counted");
  const [[after]] = await amounts();
  assert.ok(Math.abs(after - before - 130) <= 3, `${after - before} of 130`);
  // What the provider has said of the input is not corrected.
  await (await admitted(admit())).settle(usage(99, 10), "counted");
  assert.equal((await amounts())[0][0] - after, 99);
  await stop();
});

test("Engine refuses with the limit, what was asked, what is left and when it fits (L3)", async () => {
  const { admit, clock, stop } = await startEngine([rule({ limit: 1 })]);
  await admitted(admit());
  clock.advance(15_000);
  const refused = await admit();
  assert.ok(refused.kind === "refused");
  assert.deepEqual(refused.refusal, {
    code: "rate_limit_exceeded",
    message:
      'Rate limit reached: "requests-1m" of 1 requests per 1m, 0 left, 1 requested. Please try again in 45s.',
    retryAfterMs: 45_000,
    meter: "requests",
  });
  await stop();
});

test("Engine refuses for good what never fits (L4)", async () => {
  const { admit, stop } = await startEngine([rule({ name: "tokens-1m", meter: "tokens", limit: 80 })]);
  const refused = await admit();
  assert.ok(refused.kind === "refused");
  assert.equal(refused.refusal.code, "request_too_large_for_limit");
  assert.equal(refused.refusal.retryAfterMs, undefined);
  await stop();
});

test("Engine takes a default output only as far as the smallest limit allows (E5)", async () => {
  const { engine, amounts, stop } = await startEngine([
    rule({ name: "tokens-1m", meter: "tokens", limit: 300 }),
  ]);
  const admission = await engine.admit({
    caller: CALLER,
    target: TARGET,
    size: { inputTokens: 100, outputTokensMax: undefined },
    bytes: 0,
  });
  assert.equal(admission.kind, "admitted");
  // A tenth of the limit beside the input, so that the next call fits too.
  assert.deepEqual(await amounts(), [[0, 130]]);
  await stop();
});

/** A tight limit on chats, and none to speak of on other calls; `teach` makes calls of another feature that use so much. */
async function startBesideOthers() {
  const { engine, stop } = await startEngine([
    rule({ name: "all", meter: "tokens", limit: 1e9 }),
    rule({ name: "chats", meter: "tokens", limit: 1_000, match: { feature: "chat" } }),
  ]);
  const admit = (feature: string, inputTokens: number) =>
    engine.admit({
      caller: { ...CALLER, feature },
      target: TARGET,
      size: { inputTokens, inputShape: "responses/remote", outputTokensMax: undefined },
      bytes: 0,
    });
  const teach = async (calls: number, used: Usage) => {
    for (let i = 0; i < calls; i++) await (await admitted(admit("other", 80))).settle(used, "reported");
  };
  return { admit, teach, stop };
}

test("Engine refuses nobody for what others have used: learned input never makes a call too large for a limit that it fits as it is read (E5)", async () => {
  const { admit, teach, stop } = await startBesideOthers();
  // Conversations that the provider keeps: of their length the body says nothing.
  await teach(40, usage(3_000, 5));
  for (let i = 0; i < 5; i++) await (await admitted(admit("chat", 80))).settle(usage(90, 5), "reported");
  assert.equal((await admit("chat", 1_100)).kind, "refused");
  await stop();
});

test("Engine takes what others write only as far as a default: a share of the smallest limit (E5)", async () => {
  const { admit, teach, stop } = await startBesideOthers();
  await teach(200, usage(80, 3_000));
  for (let i = 0; i < 5; i++) await (await admitted(admit("chat", 80))).settle(usage(80, 10), "reported");
  await stop();
});

for (const [policy, expected] of [
  ["open", ["admitted", "admitted", "admitted"]],
  ["local", ["admitted", "admitted", "refused"]],
  ["closed", ["store_unavailable", "store_unavailable", "store_unavailable"]],
] as const satisfies readonly (readonly [StoreFailurePolicy, readonly string[]])[]) {
  test(`Engine without a store follows on_store_failure: ${policy} (L12)`, async () => {
    const { admit, store, telemetry, stop } = await startEngine([rule({ limit: 2, onStoreFailure: policy })]);
    store.mode = "down";
    const kinds: string[] = [];
    const messages: string[] = [];
    for (let i = 0; i < 3; i++) {
      kinds.push(
        await admit().then(
          (admission) => {
            if (admission.kind === "refused") messages.push(admission.refusal.message);
            return admission.kind;
          },
          (error: { code: string }) => error.code,
        ),
      );
    }
    assert.deepEqual(kinds, expected);
    if (policy === "local") assert.match(messages.join(), /no more than its share/);
    assert.ok(telemetry.counted("store-failed") >= 3);
    store.mode = "up";
    await stop();
  });
}

test("Engine does not forget its own calls when the store goes away: they are part of its share of the places (L12)", async () => {
  const places = rule({ name: "places", meter: "concurrency", limit: 4, window: { kind: "open" } });
  const { store, admit, stop } = await startEngine([places]);
  const running = await Promise.all([admit(), admit(), admit()]);
  assert.deepEqual(
    running.map(({ kind }) => kind),
    ["admitted", "admitted", "admitted"],
  );
  store.mode = "down";
  const fourth = await admit();
  assert.equal(fourth.kind, "admitted");
  assert.equal((await admit()).kind, "refused");
  // One of those that the store has granted ends, and one that it has not.
  for (const ended of [running[0], fourth]) {
    assert.ok(ended.kind === "admitted");
    await ended.reservation.settle(usage(10, 10), "reported");
    assert.equal((await admit()).kind, "admitted");
    assert.equal((await admit()).kind, "refused");
  }
  assert.ok(running[1].kind === "admitted");
  await running[1].reservation.release();
  assert.equal((await admit()).kind, "admitted");
  await stop();
});

test("Engine charges what was used while the store was away once it is back, and once only (L12, L6)", async () => {
  const { admit, amounts, engine, store, stop } = await startEngine([
    rule({ name: "tokens-1m", meter: "tokens", limit: 1_000 }),
  ]);
  const before = await admitted(admit());
  store.mode = "down";
  const during = await admitted(admit());
  await before.settle(usage(10, 1));
  await during.settle(usage(20, 2));
  store.mode = "replies lost";
  const lost = await admitted(admit());
  await lost.settle(usage(40, 4));
  store.mode = "up";
  await engine.stop();
  assert.deepEqual(await amounts(), [[11 + 22 + 44, 0]]);
  await stop();
});

test("Engine counts concurrency in its own memory while the store is away, and gives it back (L12, L9)", async () => {
  const { admit, store, stop } = await startEngine([
    rule({ name: "slots", meter: "concurrency", limit: 1, window: { kind: "open" } }),
  ]);
  store.mode = "down";
  const first = await admitted(admit());
  assert.equal((await admit()).kind, "refused");
  await first.settle(usage(1, 1));
  await (await admitted(admit())).release();
  assert.equal((await admit()).kind, "admitted");
  await stop();
});

test("Engine charges and gives back once, whoever says so again, also for a call that the store never saw (L6, L12)", async () => {
  const { admit, amounts, engine, store, telemetry, stop } = await startEngine([
    rule({ name: "tokens-1m", meter: "tokens", limit: 1_000 }),
  ]);
  store.mode = "down";
  const [settled, released] = [await admitted(admit()), await admitted(admit())];
  await settled.settle(usage(20, 2));
  store.mode = "up";
  await settled.settle(usage(20, 2));
  await settled.release();
  await released.release();
  await released.settle(usage(300, 30));
  await engine.stop();
  assert.deepEqual(await amounts(), [[22, 0]]);
  assert.equal(telemetry.counted("reservation-unsettled"), 0);
  await stop();
});

for (const mode of ["down", "replies lost"] as const) {
  test(`Engine charges a call that it admitted while the store was away (${mode}) and settles when it is back (L12, L7)`, async () => {
    const { admit, amounts, engine, store, stop } = await startEngine([
      rule({ name: "tokens-1m", meter: "tokens", limit: 1_000 }),
    ]);
    store.mode = mode;
    const reservation = await admitted(admit());
    store.mode = "up";
    // What may have been held under the call's own id is given back, which closes that id.
    await engine.stop();
    assert.deepEqual(await amounts(), [[0, 0]]);
    await reservation.settle(usage(20, 2));
    assert.deepEqual(await amounts(), [[22, 0]]);
    await stop();
  });
}

test("Engine holds what a stream writes beyond a limit that says continue, so that others wait for it (E5, L8)", async () => {
  const { admit, amounts, stop } = await startEngine([
    rule({ name: "output-1m", meter: "output_tokens", limit: 600 }),
  ]);
  const reservation = await admitted(admit({ inputTokens: 10, outputTokensMax: undefined }));
  assert.equal(await reservation.grow(3_000), undefined);
  const [[, held]] = await amounts();
  assert.ok(held >= 3_000, `${held} held of 3000 written`);
  assert.equal((await admit()).kind, "refused");
  await reservation.settle(usage(10, 3_000));
  assert.deepEqual(await amounts(), [[3_000, 0]]);
  await stop();
});

test("Engine keeps a bounded number of steps for a store that is away, and counts what it gives up (L12, L7)", async () => {
  const { admit, engine, store, telemetry, stop } = await startEngine([
    rule({ onStoreFailure: "open", limit: 1_000_000 }),
  ]);
  store.mode = "down";
  const [calls, keptMax] = [20_500, 20_000];
  for (let i = 0; i < calls; i++) await admit();
  store.mode = "up";
  await engine.stop();
  assert.equal(telemetry.counted("reservation-unsettled"), calls - keptMax);
  await stop();
});

test("HeldReservation ends each call that is learned from exactly once: with what it used, or by letting it go (E2)", async (t) => {
  const learned = t.mock.method(CallEstimates.prototype, "learn");
  const dropped = t.mock.method(CallEstimates.prototype, "dropped");
  const { admit, stop } = await startEngine([rule({ name: "tokens-1m", meter: "tokens", limit: 1e6 })]);
  type Held = Awaited<ReturnType<typeof admitted>>;
  const endings: readonly (readonly [end: (held: Held) => Promise<void>, is: "learned" | "dropped"])[] = [
    [(held) => held.settle(usage(90, 20), "reported"), "learned"],
    [(held) => held.settle(usage(90, 20), "counted"), "dropped"],
    [(held) => held.settle(usage(90, 20), "interrupted"), "dropped"],
    [(held) => held.settle(usage(90, 20), "unseen"), "dropped"],
    [(held) => held.settle(undefined), "dropped"],
    [(held) => held.release(), "dropped"],
  ];
  for (const [end, is] of endings) {
    learned.mock.resetCalls();
    dropped.mock.resetCalls();
    const held = await admitted(admit());
    await end(held);
    await held.settle(usage(1, 1), "reported");
    await held.release();
    assert.deepEqual(
      [learned.mock.callCount(), dropped.mock.callCount()],
      is === "learned" ? [1, 0] : [0, 1],
    );
  }
  await stop();
});

test("HeldReservation learns from a call while it runs, and expects more of the next once it has outgrown its hold (E2)", async () => {
  const { admit, amounts, stop } = await startEngine([
    rule({ name: "output", meter: "output_tokens", limit: 1e9 }),
  ]);
  const size = { inputTokens: 100, outputTokensMax: undefined };
  const heldNow = async () => {
    const before = (await amounts())[0][1];
    const held = await admitted(admit(size));
    const after = (await amounts())[0][1];
    await held.release();
    return after - before;
  };
  for (let i = 0; i < 100; i++) await (await admitted(admit(size))).settle(usage(100, 20), "reported");
  const before = await heldNow();
  // None of them has ended: what is known is how far they have come.
  const running = await Promise.all(Array.from({ length: 50 }, () => admitted(admit(size))));
  for (const held of running) for (let tokens = 10; tokens <= 2_000; tokens += 10) await held.grow(tokens);
  const meanwhile = await heldNow();
  assert.ok(before < 100 && meanwhile > 500, `${before} before, ${meanwhile} while they run`);
  for (const held of running) await held.release();
  await stop();
});
