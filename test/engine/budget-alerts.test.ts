import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CompiledPolicy } from "../../src/core/policy/compiled-policy.ts";
import type { LimitRule } from "../../src/core/policy/policy.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LEASE_MS } from "../../src/engine/lease.ts";
import type { AlertChannel, AlertDelivery, BudgetAlert } from "../../src/ports/alert-channel.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { limitRule, planOf, ROOM } from "../support/limit-rules.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { runs } from "../support/property.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";
import { UnreliableStore } from "../support/unreliable-store.ts";
import { until } from "../support/until.ts";

const DAY_MS = 86_400_000;

const daily = limitRule({
  name: "daily",
  limit: 10,
  window: { kind: "calendar", unit: "day", timezone: "UTC" },
  alertsAt: [50, 80, 100],
});

/** Remembers what it was told; answers as it is told to. */
class RecordingChannel implements AlertChannel {
  readonly alerts: BudgetAlert[] = [];
  answer: (alert: BudgetAlert) => Promise<AlertDelivery> = () => Promise.resolve("delivered");
  readonly #open: (() => void)[] = [];

  send(alert: BudgetAlert): Promise<AlertDelivery> {
    this.alerts.push(alert);
    return Promise.race([
      this.answer(alert),
      new Promise<AlertDelivery>((resolve) => this.#open.push(() => resolve("unfinished"))),
    ]);
  }

  close(): Promise<void> {
    for (const end of this.#open) end();
    return Promise.resolve();
  }

  get told(): readonly string[] {
    return this.alerts.map(({ subject, share }) => `${subject.user ?? "all"} ${share}`);
  }
}

const policyOf = (limits: readonly LimitRule[]) =>
  new CompiledPolicy({
    plans: new Map([["free", planOf("free", limits)]]),
    limits: [],
    accountLimits: new Map(),
    outputTokensDefault: 500,
    room: ROOM,
  });

async function startEngine(store: UnreliableStore, clock: ManualClock, limits: readonly LimitRule[]) {
  const fallback = new MemoryLimitStore(clock);
  const telemetry = new RecordingTelemetry();
  const channel = new RecordingChannel();
  const engine = new Engine({
    store,
    fallback,
    policy: policyOf(limits),
    telemetry,
    clock,
    alerts: channel,
  });
  await engine.start();
  /** `calls` calls of one request each. Says how the last one was decided. */
  const call = async (user: string, calls = 1) => {
    let kind = "";
    for (let i = 0; i < calls; i++) {
      const admission = await engine.admit({
        caller: { user, plan: "free" },
        target: { endpoint: "chat_completions", model: "m" },
        size: { inputTokens: 10, outputTokensMax: 10 },
        bytes: 0,
      });
      kind = admission.kind;
      if (admission.kind === "admitted") await admission.reservation.settle(undefined);
    }
    return kind;
  };
  return { engine, channel, telemetry, fallback, call };
}

function stage(limits: readonly LimitRule[] = [daily]) {
  const clock = new ManualClock();
  const store = new UnreliableStore(new MemoryLimitStore(clock));
  return { clock, store, start: () => startEngine(store, clock, limits) };
}

describe("BudgetAlerts", () => {
  test("tells each share once a subject and window, in the log, the metrics and the channel (E8)", async () => {
    const { clock, store, start } = stage();
    const one = await start();
    await one.call("alice", 4);
    await one.call("bob", 6);
    await until(() => one.channel.alerts.length > 0);
    assert.deepEqual(one.channel.told, ["bob 50"]);
    await one.call("alice", 4);
    await until(() => one.channel.alerts.length >= 3);
    assert.deepEqual(one.channel.told, ["bob 50", "alice 50", "alice 80"]);
    assert.equal(await one.call("alice", 3), "refused");
    await until(() => one.channel.alerts.length >= 4);
    const { id, ...alert } = one.channel.alerts[3];
    assert.match(id, /^alert_[0-9a-f]{32}$/);
    assert.deepEqual(alert, {
      atMs: clock.nowMs(),
      limitName: "daily",
      subject: { user: "alice" },
      meter: "requests",
      share: 100,
      limit: 10,
      used: 10,
      held: 0,
      per: "day (UTC)",
      resetsAtMs: Date.UTC(2026, 0, 16),
      mode: "enforce",
    });
    assert.equal(one.telemetry.counted("alert-raised"), 4);
    const line = one.telemetry.lines.find((text) => text.includes("80 %"));
    assert.match(
      line ?? "",
      /^warn .*"limit":"daily","subject":\{"user":"alice"\},"share":80,"of":"10 requests"/,
    );
    // The next day everything may be told again.
    clock.advance(DAY_MS);
    await one.call("alice", 5);
    await until(() => one.channel.alerts.length >= 5);
    assert.equal(one.channel.told[4], "alice 50");
    assert.notEqual(one.channel.alerts[4].id, one.channel.alerts[1].id);
    await one.engine.stop();
    await store.close();
  });

  test("tells once over several gateways, and over restarts (E8)", async () => {
    const { store, start } = stage();
    const gateways = await Promise.all([start(), start(), start()]);
    await Promise.all(gateways.map(({ call }) => call("alice", 3)));
    await Promise.all(gateways.map(({ engine }) => engine.stop()));
    const told = gateways.flatMap(({ channel }) => channel.told).sort();
    assert.deepEqual(told, ["alice 50", "alice 80"]);
    const restarted = await start();
    await restarted.call("alice", 1);
    await restarted.engine.stop();
    assert.deepEqual(restarted.channel.told, ["alice 100"]);
    await store.close();
  });

  test("leaves what a gateway could not finish telling to another, with the same id (E8)", async () => {
    const { clock, store, start } = stage();
    const [stopped, killed, alive] = await Promise.all([start(), start(), start()]);
    stopped.channel.answer = () => new Promise(() => {});
    killed.channel.answer = () => new Promise(() => {});
    await stopped.call("alice", 5);
    await stopped.engine.stop();
    assert.deepEqual(stopped.channel.told, ["alice 50"]);
    await killed.call("alice", 1);
    await until(() => killed.channel.alerts.length > 0);
    // While one is telling, and has its lease, nobody else does.
    await alive.call("alice", 1);
    await alive.call("bob", 5);
    await until(() => alive.channel.alerts.length > 0);
    assert.deepEqual(alive.channel.told, ["bob 50"]);
    await store.beat(1, LEASE_MS);
    clock.advance(LEASE_MS + 1);
    await alive.call("alice", 1);
    await alive.engine.stop();
    assert.deepEqual(alive.channel.told, ["bob 50", "alice 50", "alice 80"]);
    assert.equal(alive.channel.alerts[1].id, killed.channel.alerts[0].id);
    assert.equal(stopped.channel.alerts[0].id, killed.channel.alerts[0].id);
    await killed.engine.stop();
    await store.close();
  });

  test("tells what could not be delivered no second time: the log has it", async () => {
    const { store, start } = stage();
    const one = await start();
    one.channel.answer = () => Promise.resolve("failed");
    await one.call("alice", 5);
    await one.engine.stop();
    const two = await start();
    await two.call("alice", 1);
    await two.engine.stop();
    assert.deepEqual([one.channel.told, two.channel.told], [["alice 50"], []]);
    await store.close();
  });

  test("waits for room in a channel that is full, tells the log once, and leaves to others what still waits at the end", async () => {
    const { store, start } = stage();
    const one = await start();
    one.channel.answer = () => Promise.resolve("full");
    await one.call("alice", 5);
    await until(() => one.channel.alerts.length === 1);
    await one.engine.stop();
    assert.equal(one.telemetry.counted("alert-raised"), 1);
    assert.deepEqual(
      one.telemetry.lines.filter((line) => line.startsWith("error")),
      [],
    );
    const two = await start();
    let asked = 0;
    two.channel.answer = () => Promise.resolve(++asked === 1 ? "full" : "delivered");
    await two.call("alice", 1);
    await until(() => two.channel.alerts.length === 2, 30_000);
    await two.engine.stop();
    assert.deepEqual(two.channel.told, ["alice 50", "alice 50"]);
    assert.equal(two.telemetry.counted("alert-raised"), 1);
    const three = await start();
    await three.call("alice", 1);
    await three.engine.stop();
    assert.deepEqual(three.channel.told, []);
    await store.close();
  });

  test("tells what was used while the store was away when it is back (L12)", async () => {
    const { store, start } = stage();
    const one = await start();
    store.mode = "down";
    await one.call("alice", 6);
    await until(() => one.telemetry.lines.length === 0);
    assert.deepEqual(one.channel.told, []);
    store.mode = "up";
    // The beat hands in what is pending.
    await until(async () => {
      await one.call("alice", 1);
      return one.channel.alerts.length > 0;
    });
    await one.engine.stop();
    assert.equal(one.channel.told[0], "alice 50");
    await store.close();
  });

  test("says nothing of limits without alerts, and asks the store for nothing more", async () => {
    const { store, start } = stage([
      { ...daily, alertsAt: [] },
      { ...daily, name: "other", alertsAt: undefined },
    ]);
    const one = await start();
    let reads = 0;
    const { read } = store;
    store.read = (requests) => {
      reads += 1;
      return read(requests);
    };
    await one.call("alice", 11);
    await one.engine.stop();
    assert.deepEqual([one.channel.told, reads], [[], 0]);
    await store.close();
  });

  test("tells a limit in shadow mode far beyond itself, each share once (E8)", async () => {
    const { store, start } = stage([{ ...daily, mode: "shadow", alertsAt: [100, 150, 200] }]);
    const one = await start();
    await one.call("alice", 17);
    await one.engine.stop();
    assert.deepEqual(one.channel.told, ["alice 100", "alice 150"]);
    assert.equal(one.channel.alerts[0].mode, "shadow");
    await store.close();
  });
});

/** Histories over gateways, users and time; what is used is counted beside. */
const step = fc.oneof(
  fc.record({
    do: fc.constant("call" as const),
    gateway: fc.nat(1),
    user: fc.nat(1),
    calls: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ do: fc.constant("look" as const), gateway: fc.nat(1) }),
  fc.record({ do: fc.constant("restart" as const), gateway: fc.nat(1) }),
  fc.record({ do: fc.constant("advance" as const), hours: fc.integer({ min: 1, max: 30 }) }),
);

test("BudgetAlerts tells every share that was reached in a day exactly once, whatever happens (E8)", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const { clock, store, start } = stage();
      const gateways = [await start(), await start()];
      const told: string[] = [];
      const expected = new Set<string>();
      const used = new Map<string, number>();
      const day = () => Math.floor(clock.nowMs() / DAY_MS);
      // A look is due soon after a call: at the latest before the time or the gateway changes.
      const look = async (index: number) => {
        const { engine, channel } = gateways[index];
        await engine.stop();
        for (const one of channel.told) told.push(`${day()} ${one}`);
        gateways[index] = await start();
      };
      for (const one of steps) {
        switch (one.do) {
          case "call":
            for (let i = 0; i < one.calls; i++) {
              const user = `u${one.user}`;
              if ((await gateways[one.gateway].call(user)) !== "admitted") continue;
              const name = `${day()} ${user}`;
              const count = (used.get(name) ?? 0) + 1;
              used.set(name, count);
              for (const share of [50, 80, 100]) {
                if (count * 10 >= share) expected.add(`${name} ${share}`);
              }
            }
            break;
          case "look":
          case "restart":
            await look(one.gateway);
            break;
          case "advance":
            await look(0);
            await look(1);
            clock.advance(one.hours * 3_600_000);
            break;
        }
      }
      await look(0);
      await look(1);
      assert.deepEqual(told.sort(), [...expected].sort());
      for (const { engine } of gateways) await engine.stop();
      await store.close();
    }),
    runs(30),
  );
});
