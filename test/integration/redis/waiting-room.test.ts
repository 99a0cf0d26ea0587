import assert from "node:assert/strict";
import type { Buffer } from "node:buffer";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { Redis } from "ioredis";
import type { Ticket } from "../../../src/core/fairness/lane.ts";
import { PRIORITIES, type RoomBounds } from "../../../src/core/fairness/permit.ts";
import type { Attempt } from "../../../src/core/fairness/permit-limits.ts";
import { type Entry, WaitingRoom } from "../../../src/core/fairness/waiting-room.ts";
import type { LimitSpec } from "../../../src/core/limits/limit-spec.ts";
import type { Priority } from "../../../src/core/policy/policy.ts";
import type { ReservationId, ReserveOutcome } from "../../../src/ports/limit-store.ts";
import type { PermitCall } from "../../../src/ports/permit-queue.ts";
import { CounterTable } from "../../../src/stores/memory/counter-table.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { Realms } from "../../../src/stores/redis/realms.ts";
import type { RedisLimitStore } from "../../../src/stores/redis/redis-limit-store.ts";
import { encodeRequest, FORCE } from "../../../src/stores/redis/request-codec.ts";
import {
  decodeEnterReply,
  decodeGranted,
  decodeGrants,
  decodeLeft,
  decodeView,
  encodeEnter,
  encodeFreed,
  encodeLeave,
  encodeView,
  type RoomRequest,
  ticketName,
} from "../../../src/stores/redis/room-codec.ts";
import { ROOM } from "../../../src/stores/redis/scripts.ts";
import { bucket, calendar, concurrency, rolling } from "../../contract/limit-specs.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { runs } from "../../support/property.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";

const TTL_MS = 1e10;
const DAY_MS = 86_400_000;
const BOUNDS: RoomBounds = {
  waitingMax: 40,
  waitingPerFlowMax: 5,
  bytesMax: 200,
  bytesPerFlowMax: 100,
  minShares: [0, 0.2, 0.1, 0.05],
};

const enterStep = fc.record({
  kind: fc.constant("enter" as const),
  user: fc.nat(4),
  priority: fc.constantFrom<Priority>("critical", "high", "normal", "normal", "normal", "low"),
  weight: fc.constantFrom(1, 1, 4),
  // Small ones that may pass a large one that has to wait.
  size: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 22 })),
  bytes: fc.integer({ min: 1, max: 12 }),
  own: fc.constantFrom(0, 1, 2, 3, 3, 3, 3),
  shared: fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([0]) },
    { weight: 2, arbitrary: fc.uniqueArray(fc.nat(2), { maxLength: 3 }) },
  ),
  maxWaitMs: fc.constantFrom(0, 1_000, 50_000, 500_000, 500_000, 500_000),
});
const step = fc.oneof(
  { weight: 9, arbitrary: enterStep },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("enter together" as const),
      calls: fc.array(enterStep, { minLength: 2, maxLength: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), pick: fc.nat(50) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      pick: fc.nat(50),
      actual: fc.nat(14),
      openMs: fc.option(fc.nat(900), { nil: undefined }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("due" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.oneof(fc.nat(300), fc.constantFrom(50, 100, 500, 1_000), fc.nat(5_000)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("view" as const),
      user: fc.nat(4),
      max: fc.integer({ min: 1, max: 12 }),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const nameOf = ({ instance, sequence }: ReservationId) => `${instance}:${sequence}`;
/** How many turns are taken in one go: so few that histories come there, and more than they have. */
const TURNS_MAX = [2, 1_000] as const;
const SCRIPTS = TURNS_MAX.map((max) => ROOM.source.replace(/TURNS_MAX = \d+/, `TURNS_MAX = ${max}`));
/** In any order: who is served in one moment is compared, not who is told first. */
const sorted = <T extends { readonly name: string }>(list: readonly T[]) =>
  [...list].sort((a, b) => a.name.localeCompare(b.name));

let round = 0;

/** The same calls to the waiting room of core and to the one in Redis. */
class Pair {
  readonly clock = new ManualClock();
  readonly #table = new CounterTable();
  readonly #store: RedisLimitStore;
  readonly #client: Redis;
  readonly #subscriber: Redis;
  readonly #realms: Realms;
  readonly #gateway = String(1_000 + ++round);
  readonly #room: WaitingRoom<ReserveOutcome>;
  readonly #own: readonly LimitSpec[];
  readonly #shared: readonly LimitSpec[];
  #granted: { name: string; outcome: unknown }[] = [];
  #heard: Buffer[] = [];
  #sequence = 0;
  readonly waiting = new Map<string, { readonly call: PermitCall; readonly ticket: Ticket }>();
  readonly open: { readonly call: PermitCall; readonly isCounted: boolean }[] = [];
  served = 0;

  constructor(prefix: string, store: RedisLimitStore, client: Redis, subscriber: Redis) {
    this.#store = store;
    this.#client = client;
    this.#subscriber = subscriber;
    this.#realms = new Realms(prefix, 1);
    const start = this.clock.nowMs() - 12 * 3_600_000;
    const days = [-3, -2, -1, 0, 1, 2].map((day) => start + day * DAY_MS);
    this.#own = [rolling(30, 1_000), rolling(12, 777, { grainMs: 100 }), concurrency(3), calendar(90, days)];
    this.#shared = [bucket(30, 20, 1_000), rolling(25, 900, { grainMs: 100 }), concurrency(5)];
    this.#room = new WaitingRoom<ReserveOutcome>(
      {
        reserve: (request, nowMs) => this.#attempt(request as PermitCall, nowMs),
        expectedWait: (request, ahead, serviceMs, nowMs) =>
          this.#table.expectedWait(request.subjects, ahead, serviceMs, nowMs),
      },
      (ticket, outcome) => {
        const call = ticket.request as PermitCall;
        this.#granted.push({ name: nameOf(call.id), outcome });
        this.waiting.delete(nameOf(call.id));
        this.open.push({ call, isCounted: true });
      },
      undefined,
      TURNS_MAX[round % 2],
    );
  }

  async begin(): Promise<void> {
    this.#subscriber.on("messageBuffer", (_channel: Buffer, message: Buffer) => this.#heard.push(message));
    await this.#subscriber.subscribe(`${this.#realms.room()}g:${this.#gateway}`);
    await this.#store.beat(round, 1e9);
    this.#table.beat(round, 1e9, this.clock.nowMs());
  }

  async end(): Promise<void> {
    this.#subscriber.removeAllListeners("messageBuffer");
    await this.#subscriber.unsubscribe();
  }

  #attempt(call: PermitCall, nowMs: number): Attempt<ReserveOutcome> {
    const outcome = this.#table.reserve(call, nowMs);
    if (outcome.kind === "admitted") return { kind: "granted", outcome };
    if (outcome.kind === "never_fits") return { kind: "never_fits", outcome };
    assert.equal(outcome.kind, "refused");
    const subjects = call.subjects.flatMap(({ charges }, i) => charges.map(() => i));
    return { kind: "refused", outcome, waitMs: outcome.waitMs, limiting: subjects[outcome.limiting] };
  }

  #call(entering: Extract<Step, { kind: "enter" }>): PermitCall {
    const { user, size, own, shared } = entering;
    const charge = (spec: LimitSpec) => {
      const amount = spec.algorithm === "concurrency" ? 1 : size;
      return { spec, hold: amount, need: amount };
    };
    return {
      id: { instance: round, sequence: ++this.#sequence },
      ttlMs: TTL_MS,
      subjects: [
        { key: `user=${round}-${user}`, charges: own === 3 ? [] : [charge(this.#own[own])] },
        ...shared.map((limit) => ({
          key: `shared=${round}-${limit}`,
          charges: [charge(this.#shared[limit])],
        })),
      ],
      isShared: [false, ...shared.map(() => true)],
      flow: `user-${user}`,
      priority: entering.priority,
      weight: entering.weight,
      size,
      bytes: entering.bytes,
      maxWaitMs: entering.maxWaitMs,
    };
  }

  #keys(call: PermitCall): string[] {
    return call.subjects.map(({ key }) => this.#realms.subject(0, key));
  }

  async #run(request: RoomRequest): Promise<{ readonly dueMs: number; readonly reply: unknown }> {
    const { dueMs, replies } = await this.#runAll([request]);
    return { dueMs, reply: replies[0] };
  }

  async #runAll(
    requests: readonly RoomRequest[],
  ): Promise<{ readonly dueMs: number; readonly replies: readonly unknown[] }> {
    const args: (string | Buffer)[] = [String(this.clock.nowMs()), this.#gateway];
    for (const request of requests) args.push(request.letter, String(request.args.length), ...request.args);
    const [dueMs, ...replies] = (await this.#client.callBuffer(
      "eval",
      SCRIPTS[round % 2],
      1,
      this.#realms.room(),
      ...args,
    )) as unknown[];
    return { dueMs: Number(dueMs), replies };
  }

  /** What Redis has granted since the last time: everything that was published before a message of our own. */
  async #grants(): Promise<{ name: string; outcome: unknown }[]> {
    const end = ticketName({ instance: 0, sequence: ++this.#sequence });
    await this.#client.publish(`${this.#realms.room()}g:${this.#gateway}`, end);
    while (!this.#heard.some((message) => message.equals(end))) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const grants = this.#heard.filter((message) => !message.equals(end));
    this.#heard = [];
    return grants
      .flatMap((message) => decodeGrants(message).grants)
      .map(({ id, reply }) => {
        const call = this.#calls.get(nameOf(id));
        assert.ok(call, "a grant for an unknown call");
        const specs = call.subjects.flatMap(({ charges }) => charges.map(({ spec }) => spec));
        return { name: nameOf(id), outcome: decodeGranted(reply, specs, true).outcome };
      });
  }

  readonly #calls = new Map<string, PermitCall>();

  async take(one: Step): Promise<void> {
    const dueMs = await this.#take(one);
    const granted = await this.#grants();
    this.served += granted.length;
    assert.deepEqual(sorted(granted), sorted(this.#granted));
    this.#granted = [];
    if (dueMs === undefined) return;
    const expected = Number.isFinite(this.#room.nextDueMs)
      ? Math.max(0, this.#room.nextDueMs - this.clock.nowMs())
      : -1;
    assert.equal(dueMs, expected, "the next due moment");
  }

  async #take(one: Step): Promise<number | undefined> {
    const nowMs = this.clock.nowMs();
    switch (one.kind) {
      case "enter":
        return this.#enter([one], nowMs);
      case "enter together":
        return this.#enter(one.calls, nowMs);
      case "leave": {
        const [name, { call, ticket }] = [...this.waiting][one.pick % this.waiting.size] ?? [undefined, {}];
        if (name === undefined || call === undefined || ticket === undefined) return undefined;
        const { expectedMs } = this.#room.look(ticket, nowMs);
        this.waiting.delete(name);
        this.#room.leave(ticket, nowMs);
        const tellsWait = one.pick % 2 === 0;
        const { dueMs, reply } = await this.#run(encodeLeave(call.id, tellsWait));
        assert.equal(decodeLeft(reply), tellsWait ? expectedMs : 0);
        return dueMs;
      }
      case "settle":
        return this.#settle(one, nowMs);
      case "due":
        if (Number.isFinite(this.#room.nextDueMs)) this.clock.set(Math.max(nowMs, this.#room.nextDueMs));
        return this.#pump();
      case "advance":
        this.clock.advance(one.ms);
        return this.#pump();
      case "view": {
        for (const priority of PRIORITIES) {
          const flow: string = `user-${one.user}`;
          const { reply } = await this.#run(encodeView(flow, priority, one.max));
          const { total, first } = this.#room.lookAll(flow, priority, one.max, nowMs);
          const shown = first.map(({ ticket, position, expectedMs }) => {
            assert.deepEqual({ position, expectedMs }, this.#room.look(ticket, nowMs));
            return { waitedMs: nowMs - ticket.enteredMs, position, expectedMs };
          });
          assert.deepEqual(decodeView(reply as unknown[]), { total, first: shown });
          const all = [...this.waiting.values()].filter(
            ({ call }) => call.flow === flow && call.priority === priority,
          );
          assert.equal(total, all.length);
          assert.equal(first.length, Math.min(total, one.max));
        }
        return undefined;
      }
    }
  }

  async #pump(): Promise<number> {
    // The gateway was heard of all the time.
    await this.#client.zadd(`${this.#realms.room()}g`, "XX", this.clock.nowMs() + 1, this.#gateway);
    this.#room.pump(this.clock.nowMs());
    return (await this.#run({ letter: "p", args: [] })).dueMs;
  }

  /** In one run of the script, one after the other. */
  async #enter(entering: readonly Extract<Step, { kind: "enter" }>[], nowMs: number): Promise<number> {
    const entries = entering.map((one) => {
      const call = this.#call(one);
      this.#calls.set(nameOf(call.id), call);
      return { call, entry: this.#room.enter(call, BOUNDS, nowMs) };
    });
    const { dueMs, replies } = await this.#runAll(entries.map(({ call }) => this.#encodeEnter(call)));
    for (const [at, { call, entry }] of entries.entries()) this.#compare(call, entry, replies[at]);
    return dueMs;
  }

  #encodeEnter(call: PermitCall): RoomRequest {
    const { id, subjects } = call;
    const { request, hasConcurrency } = encodeRequest({
      id,
      step: 0,
      force: FORCE.no,
      ttlMs: TTL_MS,
      subjects,
    });
    const keys = [...this.#keys(call)];
    if (hasConcurrency) keys.push(this.#realms.gateways(0));
    return encodeEnter(call, BOUNDS, { keys, request });
  }

  #compare(call: PermitCall, entry: Entry<ReserveOutcome>, reply: unknown): void {
    const specs = call.subjects.flatMap(({ charges }) => charges.map(({ spec }) => spec));
    const seen = decodeEnterReply(reply as Buffer | unknown[], specs);
    switch (entry.kind) {
      case "granted":
        assert.deepEqual(seen, { kind: "granted", outcome: entry.outcome, isCounted: entry.isCounted });
        this.open.push({ call, isCounted: entry.isCounted });
        break;
      case "turned":
        assert.deepEqual(seen, {
          kind: "refused",
          reason: entry.reason,
          waitMs: entry.waitMs,
          outcome: entry.outcome,
        });
        break;
      case "waiting":
        assert.ok(seen.kind === "waiting" && seen.generation > 0);
        assert.equal(seen.expectedMs, entry.expectedMs);
        // It may have been granted behind a call that came with it.
        if (entry.ticket.lane !== undefined)
          this.waiting.set(nameOf(call.id), { call, ticket: entry.ticket });
        break;
    }
  }

  async #settle(
    { pick, actual, openMs }: Extract<Step, { kind: "settle" }>,
    nowMs: number,
  ): Promise<number | undefined> {
    if (this.open.length === 0) return undefined;
    const [{ call, isCounted }] = this.open.splice(pick % this.open.length, 1);
    const subjects = call.subjects.map(({ key, charges }) => ({
      key,
      charges: charges.map(({ spec }) => ({ spec, actual })),
    }));
    assert.equal(await this.#store.settle({ id: call.id, subjects }), "settled");
    assert.equal(this.#table.settle({ id: call.id, subjects }, nowMs), "settled");
    const correction = actual - call.size;
    const { flow, priority } = call;
    const served = isCounted ? { flow, priority, correction } : undefined;
    this.#room.freed(
      call.subjects.map(({ key }) => key),
      served,
      openMs,
      nowMs,
    );
    const { dueMs } = await this.#run(encodeFreed({ keys: [], served, openMs }, this.#keys(call)));
    return dueMs;
  }

  /** Everything leaves, and nothing is left. */
  async empty(): Promise<void> {
    while (this.waiting.size > 0) await this.take({ kind: "leave", pick: 0 });
    assert.equal(this.#room.waiting, 0);
    const prefix = this.#realms.room();
    const left: string[] = await this.#client.keys(`${prefix}*`);
    const kinds = left.map((key) => key.slice(prefix.length).split(":")[0]);
    assert.deepEqual(
      kinds.filter((kind) => !"rfg".includes(kind)),
      [],
    );
    for (const key of left) assert.ok((await this.#client.pttl(key)) > 0, `${key} never expires`);
    await this.#client.flushdb();
  }
}

describe("the waiting room in Redis", () => {
  let redis: RedisServer;
  let client: Redis;
  let subscriber: Redis;
  before(async () => {
    redis = await startRedisServer();
    client = new Redis(redis.url);
    subscriber = new Redis(redis.url);
  });
  after(async () => {
    client.disconnect();
    subscriber.disconnect();
    await redis.stop();
  });

  test("room.lua decides every history as core's waiting room does (L11, Q7)", async () => {
    let served = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 200, size: "max" }), async (steps) => {
        let pair: Pair | undefined;
        const clock = { nowMs: () => (pair as Pair).clock.nowMs() };
        pair = undefined;
        const prefix = `t${round}`;
        const lazyClock = { nowMs: () => (pair === undefined ? Date.UTC(2026, 0, 15, 12) : clock.nowMs()) };
        const store = await openRedisLimitStore({ url: redis.url, keyPrefix: prefix, clock: lazyClock });
        try {
          pair = new Pair(prefix, store, client, subscriber);
          await pair.begin();
          for (const one of steps) await pair.take(one);
          await pair.empty();
          served += pair.served;
        } finally {
          await pair?.end();
          await store.close();
        }
      }),
      // Shrinking a long history would take longer than reading it.
      { ...runs(40), endOnFailure: true },
    );
    assert.ok(served > 0, "nobody was ever served after a wait");
  });
});
