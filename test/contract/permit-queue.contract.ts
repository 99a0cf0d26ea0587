import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { PRIORITIES, type RoomBounds } from "../../src/core/fairness/permit.ts";
import type { LimitSpec } from "../../src/core/limits/limit-spec.ts";
import { OperationalError } from "../../src/core/operational-error.ts";
import type { LimitStore } from "../../src/ports/limit-store.ts";
import {
  LOOK_MAX,
  type PermitCall,
  type PermitDecision,
  type PermitQueue,
  type WaitingPermit,
} from "../../src/ports/permit-queue.ts";
import { ROOM } from "../support/limit-rules.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { concurrency, rolling } from "./limit-specs.ts";

export interface PermitStores {
  /** One queue, as two gateways see it; the same store twice where there is only one. */
  readonly stores: readonly [LimitStore, LimitStore];
  close(): Promise<void>;
}

const TTL_MS = 600_000;
/** Longer than any of these tests takes. */
const LONG_MS = 120_000;
/** A machine on which other tests run may stand still for as long, but not whenever it matters: of several tries one is as good as promised. */
const STALL_MS_MAX = 950;
/** How late a refusal may be (Q4). */
const LATE_MS_MAX = 50;
/** How long what fits may be left idle (Q8). */
const IDLE_MS_MAX = 20;

/** Times of several tries that are promised to take at most `dueMs` + `lateMsMax`, and not less than `dueMs`. */
function assertPunctual(tries: readonly { dueMs: number; tookMs: number }[], lateMsMax: number): void {
  const lateMs = tries.map(({ dueMs, tookMs }) => tookMs - dueMs);
  const said = lateMs.map((late) => late.toFixed(1)).join(", ");
  // Timers have whole milliseconds, and the two clocks that are compared may be apart by one.
  assert.ok(Math.min(...lateMs) >= -2, `too early: ${said}`);
  assert.ok(Math.min(...lateMs) <= lateMsMax, `late by ${said} ms`);
  assert.ok(Math.max(...lateMs) <= lateMsMax + STALL_MS_MAX, `late by ${said} ms`);
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Asked {
  readonly user: string;
  readonly specs: readonly { readonly key: string; readonly spec: LimitSpec; readonly hold?: number }[];
  readonly part?: Partial<PermitCall>;
}

/** One gateway's use of a permit queue, in few words: a subject that is not `user=…` is shared. */
export class Waiter {
  readonly store: LimitStore;
  readonly permits: PermitQueue;
  readonly #instance: number;
  #sequence = 0;

  constructor(store: LimitStore, instance: number) {
    this.store = store;
    this.#instance = instance;
    assert.ok(store.permits !== undefined);
    this.permits = store.permits;
  }

  call({ user, specs, part }: Asked): PermitCall {
    this.#sequence += 1;
    return {
      id: { instance: this.#instance, sequence: this.#sequence },
      subjects: specs.map(({ key, spec, hold = 1 }) => ({ key, charges: [{ spec, hold, need: hold }] })),
      isShared: specs.map(({ key }) => !key.startsWith("user=")),
      ttlMs: TTL_MS,
      flow: user,
      priority: "normal",
      weight: 1,
      size: 10,
      bytes: 1_000,
      maxWaitMs: LONG_MS,
      ...part,
    };
  }

  enter(call: PermitCall, bounds: RoomBounds = ROOM) {
    return this.permits.enter(call, bounds);
  }

  async granted(asked: Asked): Promise<PermitCall> {
    const call = this.call(asked);
    assert.equal((await this.enter(call)).kind, "granted");
    return call;
  }

  async waiting(
    asked: Asked,
    bounds: RoomBounds = ROOM,
  ): Promise<WaitingPermit & { readonly call: PermitCall }> {
    const call = this.call(asked);
    const entry = await this.enter(call, bounds);
    assert.ok(entry.kind === "waiting", entry.kind);
    const { kind, expectedMs, decision } = entry;
    return { kind, expectedMs, decision, leave: () => entry.leave(), call };
  }

  /** Settles with `actual` of everything, and tells the queue. */
  async end({ id, subjects, flow, priority }: PermitCall, actual = 1, isCounted = false): Promise<void> {
    await this.store.settle({
      id,
      subjects: subjects.map(({ key, charges }) => ({
        key,
        charges: charges.map(({ spec }) => ({ spec, actual })),
      })),
    });
    this.permits.freed({
      keys: subjects.map(({ key }) => key),
      served: isCounted ? { flow, priority, correction: 0 } : undefined,
      openMs: 5,
    });
  }

  async used(key: string, spec: LimitSpec): Promise<readonly [used: number, held: number]> {
    const [{ used, held }] = await this.store.read([{ key, specs: [spec] }]);
    return [used, held];
  }
}

/** The rules that every permit queue keeps. `open` makes a fresh one on the system's clock. */
export function permitQueueContract(name: string, open: () => Promise<PermitStores>): void {
  describe(`${name} as a permit queue`, () => {
    let opened: PermitStores;
    let first: Waiter;
    let second: Waiter;
    before(async () => {
      opened = await open();
      first = new Waiter(opened.stores[0], 101);
      second = new Waiter(opened.stores[1], 102);
      for (const [i, store] of opened.stores.entries()) await store.beat(101 + i, TTL_MS);
    });
    after(() => opened.close());

    let subject = 0;
    /** One place, that all users share. */
    const onePlace = () => {
      const key = `account=${subject++}`;
      const spec = concurrency(1);
      return { key, spec, specs: [{ key, spec }] };
    };
    const kindOf = async (decision: Promise<PermitDecision>) => (await decision).kind;

    test("enter grants what fits, and lets what does not wait for what is freed, in whatever gateway (Q7, Q8)", async () => {
      const { specs, key, spec } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const waiting = await second.waiting({ user: "ben", specs });
      assert.deepEqual(await first.used(key, spec), [0, 1]);
      const started = performance.now();
      await first.end(holder);
      const decision = await waiting.decision;
      assert.equal(decision.kind, "granted");
      assert.ok(performance.now() - started < IDLE_MS_MAX + STALL_MS_MAX);
      assert.ok(decision.kind === "granted" && decision.isCounted);
      assert.equal(decision.outcome.readings[0].held, 1);
      await second.end(waiting.call);
      assert.deepEqual(await first.used(key, spec), [0, 0]);
    });

    test("enter serves as soon as time gives more, with nobody telling (Q8, L3)", async () => {
      const serve = async (windowMs: number) => {
        const specs = [{ key: `user=${subject++}`, spec: rolling(1, windowMs) }];
        const user = `tim-${windowMs}`;
        await first.granted({ user, specs });
        const started = performance.now();
        const waiting = await second.waiting({ user, specs });
        assert.ok(waiting.expectedMs > windowMs - 100 && waiting.expectedMs <= windowMs * 1.1 + 1);
        assert.equal(await kindOf(waiting.decision), "granted");
        return { dueMs: windowMs, tookMs: performance.now() - started };
      };
      const tries = [];
      // One after the other: each is another chance for a machine that stands still.
      for (const windowMs of [110, 120, 130, 140]) tries.push(await serve(windowMs));
      // What was granted first was so a moment before.
      assertPunctual(
        tries.map(({ dueMs, tookMs }) => ({ dueMs, tookMs: Math.max(dueMs, tookMs) })),
        IDLE_MS_MAX,
      );
    });

    test("enter serves one flow first come first served, over both gateways (Q7)", async () => {
      const { specs } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const order: number[] = [];
      const served = [];
      for (const i of [0, 1, 2, 3]) {
        const waiter = i % 2 === 0 ? second : first;
        const { call, decision } = await waiter.waiting({ user: "ben", specs });
        served.push(
          decision.then(async () => {
            order.push(i);
            await waiter.end(call, 1, true);
          }),
        );
      }
      await first.end(holder);
      await Promise.all(served);
      assert.deepEqual(order, [0, 1, 2, 3]);
    });

    test("enter serves the flow that has had least, and higher priorities first (Q1, Q2)", async () => {
      const { specs } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const order: string[] = [];
      const served: Promise<void>[] = [];
      const enter = async (user: string, part: Partial<PermitCall>) => {
        const waiter = served.length % 2 === 0 ? second : first;
        const { call, decision } = await waiter.waiting({ user, specs, part });
        const isServed = async () => {
          await decision;
          order.push(user);
          await waiter.end(call, 1, true);
        };
        served.push(isServed());
      };
      for (let i = 0; i < 2; i++) await enter("whale", { size: 1_000 });
      for (let i = 0; i < 3; i++) await enter("minnow", { size: 10 });
      await enter("vip", { priority: "high" });
      await first.end(holder);
      await Promise.all(served);
      assert.deepEqual(order, ["vip", "whale", "minnow", "minnow", "minnow", "whale"]);
    });

    test("enter refuses at once what could not be served in time, and says when it would be (Q4, L3)", async () => {
      const specs = [{ key: `user=${subject++}`, spec: rolling(1, 60_000) }];
      await first.granted({ user: "tim", specs });
      const entry = await second.enter(second.call({ user: "tim", specs, part: { maxWaitMs: 5_000 } }));
      assert.ok(entry.kind === "refused" && entry.reason === "limited");
      assert.ok(entry.waitMs > 50_000 && entry.waitMs <= 66_000, `${entry.waitMs}`);
      assert.equal(entry.outcome?.kind, "refused");
    });

    test("enter refuses what can never fit, though others wait (L4)", async () => {
      const { specs, key, spec } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const waiting = await second.waiting({ user: "ben", specs });
      const entry = await second.enter(second.call({ user: "cat", specs: [{ key, spec, hold: 2 }] }));
      assert.ok(entry.kind === "refused" && entry.reason === "never_fits");
      assert.equal(entry.outcome?.kind, "never_fits");
      waiting.leave();
      await first.end(holder);
    });

    test("a call that has waited for its time is refused at its deadline, and nothing is charged (Q4)", async () => {
      const { specs, key, spec } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const refuse = async (maxWaitMs: number) => {
        const started = performance.now();
        const { decision } = await second.waiting({ user: `ben-${maxWaitMs}`, specs, part: { maxWaitMs } });
        assert.equal(await kindOf(decision), "timed_out");
        return { dueMs: maxWaitMs, tookMs: performance.now() - started };
      };
      const tries = [];
      for (const maxWaitMs of [50, 60, 70, 80, 90]) tries.push(await refuse(maxWaitMs));
      assertPunctual(tries, LATE_MS_MAX);
      await first.end(holder);
      await wait(20);
      assert.deepEqual(await first.used(key, spec), [0, 0]);
    });

    test("leave gives the place to the next, and may be called twice (Q5)", async () => {
      const { specs } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const leaving = await second.waiting({ user: "ben", specs });
      const next = await first.waiting({ user: "cat", specs });
      leaving.leave();
      leaving.leave();
      await until(async () => (await first.permits.look("ben", "normal")).total === 0);
      await first.end(holder);
      assert.equal(await kindOf(next.decision), "granted");
      await first.end(next.call);
    });

    test("leave while the grant is on its way gives it back, unless it was decided before (Q5, L7)", async () => {
      const { specs, key, spec } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const leaving = await second.waiting({ user: "ben", specs });
      const next = await first.waiting({ user: "cat", specs });
      await first.end(holder);
      const before = await Promise.race([leaving.decision, Promise.resolve(undefined)]);
      leaving.leave();
      const after = await Promise.race([leaving.decision, wait(30)]);
      assert.equal(after, before);
      if (before !== undefined) await second.end(leaving.call, 1, true);
      assert.equal(await kindOf(next.decision), "granted");
      await first.end(next.call, 1, true);
      assert.deepEqual(await first.used(key, spec), [0, 0]);
    });

    test("enter refuses more calls and more bytes than there is room for, of a flow and in total (Q6)", async () => {
      const { specs } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const bounds = {
        ...ROOM,
        waitingPerFlowMax: 2,
        waitingMax: 4,
        bytesPerFlowMax: 2_500,
        bytesMax: 4_500,
      };
      const reason = async (asked: Asked, at: RoomBounds = bounds) => {
        const entry = await second.enter(second.call(asked), at);
        assert.ok(entry.kind === "refused", entry.kind);
        return entry.reason;
      };
      const all = [await first.waiting({ user: "ben", specs }, bounds)];
      assert.equal(await reason({ user: "ben", specs, part: { bytes: 1_600 } }), "queue_full");
      all.push(await second.waiting({ user: "ben", specs }, bounds));
      // In whatever priority: a client may lower its own.
      for (const priority of PRIORITIES) {
        assert.equal(
          await reason({ user: "ben", specs, part: { bytes: 1, priority } }),
          "queue_full",
          priority,
        );
      }
      all.push(await first.waiting({ user: "cat", specs }, bounds));
      assert.equal(await reason({ user: "dan", specs, part: { bytes: 1_600 } }), "queue_full");
      all.push(await second.waiting({ user: "dan", specs }, bounds));
      assert.equal(await reason({ user: "eve", specs, part: { bytes: 1 } }), "queue_full");
      for (const { leave } of all) leave();
      await first.end(holder);
    });

    test("look tells where a flow's calls stand (Q4)", async () => {
      const { specs } = onePlace();
      const holder = await first.granted({ user: "ann", specs });
      const calls = [
        await first.waiting({ user: "ben", specs }),
        await second.waiting({ user: "cat", specs, part: { priority: "high" } }),
        await first.waiting({ user: "ben", specs }),
      ];
      const { first: shown, total } = await first.permits.look("ben", "normal");
      assert.equal(total, 2);
      assert.deepEqual(
        shown.map(({ position }) => position),
        [2, 3],
      );
      assert.ok(shown.every(({ waitedMs }) => waitedMs >= 0 && waitedMs < 10_000));
      for (const { leave } of calls) leave();
      await first.end(holder);
    });

    test("look shows the first calls of a flow that came, whatever they wait for, and tells of all how many there are (Q4, X3)", async () => {
      const [one, other] = [onePlace().specs, onePlace().specs];
      const holders = [
        await first.granted({ user: "ann", specs: one }),
        await first.granted({ user: "ann", specs: other }),
      ];
      const calls: WaitingPermit[] = [];
      const enter = async (specs: Asked["specs"], part: Partial<PermitCall> = {}) => {
        calls.push(await (calls.length % 2 === 0 ? first : second).waiting({ user: "ben", specs, part }));
        // The order is by milliseconds.
        await wait(2);
      };
      for (const specs of [one, one, other, one, other]) await enter(specs);
      await enter(one, { priority: "high" });
      const positions = async () => {
        const { first: shown, total } = await second.permits.look("ben", "normal");
        return { total, shown: shown.map(({ position }) => position) };
      };
      // One of the higher priority is in front of those who wait for the same.
      assert.deepEqual(await positions(), { total: 5, shown: [2, 3, 1, 4, 2] });
      for (let i = 5; i < LOOK_MAX + 5; i++) await enter(one);
      const many = await positions();
      assert.equal(many.total, LOOK_MAX + 5);
      const rest = Array.from({ length: LOOK_MAX - 5 }, (_, i) => i + 5);
      assert.deepEqual(many.shown, [2, 3, 1, 4, 2, ...rest]);
      for (const call of calls) call.leave();
      for (const holder of holders) await first.end(holder);
    });

    test("whoever leaves while it is granted, times out while it is granted, or stays: nothing is lost or held twice (Q5, L7)", async () => {
      const random = randomOf(4);
      const key = `account=${subject++}`;
      const spec = concurrency(3);
      const specs = [{ key, spec }];
      const ended: Promise<unknown>[] = [];
      const use = async (waiter: Waiter, call: PermitCall, isCounted: boolean) => {
        if (random() < 0.5) await wait(random() * 3);
        await waiter.end(call, 1, isCounted);
      };
      for (let i = 0; i < 300; i++) {
        const waiter = random() < 0.5 ? first : second;
        const maxWaitMs = random() < 0.3 ? 1 + Math.floor(random() * 10) : LONG_MS;
        const call = waiter.call({ user: `u${Math.floor(random() * 20)}`, specs, part: { maxWaitMs } });
        const work = async () => {
          const entry = await waiter.enter(call);
          if (entry.kind === "refused") return;
          if (entry.kind === "granted") return use(waiter, call, entry.isCounted);
          if (random() < 0.3) {
            await wait(random() * 10);
            const granted = await Promise.race([entry.decision, Promise.resolve(undefined)]);
            if (granted?.kind === "granted") return use(waiter, call, true);
            if (granted === undefined) return entry.leave();
            return;
          }
          const decision = await entry.decision;
          if (decision.kind === "granted") await use(waiter, call, true);
        };
        ended.push(work());
        if (i % 10 === 0) await wait(1);
      }
      await Promise.all(ended);
      await until(async () => (await first.used(key, spec))[1] === 0, 5_000);
      assert.deepEqual(await first.used(key, spec), [0, 0]);
      // Nothing of them is left: a new call is served at once, and is not counted.
      const entry = await first.enter(first.call({ user: "zoe", specs }));
      assert.ok(entry.kind === "granted" && !entry.isCounted);
      assert.deepEqual(await first.permits.look("zoe", "normal"), { total: 0, first: [] });
    });

    test("close of the store ends every wait (L12)", async () => {
      const alone = await open();
      const waiter = new Waiter(alone.stores[0], 103);
      await alone.stores[0].beat(103, TTL_MS);
      const { specs } = onePlace();
      await waiter.granted({ user: "ann", specs });
      const { decision } = await waiter.waiting({ user: "ben", specs });
      const rejected = assert.rejects(
        decision,
        (error) => error instanceof OperationalError && error.code === "store_unavailable",
      );
      await alone.close();
      await rejected;
    });
  });
}
