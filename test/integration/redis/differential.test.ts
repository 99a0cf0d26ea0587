import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import type { LimitSpec } from "../../../src/core/limits/limit-spec.ts";
import type {
  ReadRequest,
  ReservationId,
  ReserveRequest,
  SettleRequest,
} from "../../../src/ports/limit-store.ts";
import { CounterTable } from "../../../src/stores/memory/counter-table.ts";
import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import type { RedisLimitStore } from "../../../src/stores/redis/redis-limit-store.ts";
import { bucket, calendar, concurrency, rolling } from "../../contract/limit-specs.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { runs } from "../../support/property.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";

const LEASE_MS = 20_000;
/** Nothing expires in these histories: when an open reservation is given up is each store's own affair. */
const TTL_MS = 1e10;
const DAY_MS = 86_400_000;

/** One charge of a subject: which limit, how much is held, how much more must fit. */
const charge = fc.record({
  limit: fc.nat(8),
  hold: fc.oneof(
    { weight: 1, arbitrary: fc.constant(0) },
    { weight: 5, arbitrary: fc.integer({ min: 1, max: 5 }) },
  ),
  more: fc.oneof(
    { weight: 5, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
  ),
});
const charges = fc.array(charge, { maxLength: 5 });

const step = fc.record({
  clockMs: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 300 }) },
    // Whole sub-windows, and halves: what happens to the millisecond.
    { weight: 4, arbitrary: fc.constantFrom(0, 50, 100, 200, 500, 777) },
    { weight: 2, arbitrary: fc.integer({ min: 300, max: 3_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 10_000, max: 2 * DAY_MS }) },
    { weight: 1, arbitrary: fc.integer({ min: -9_999, max: -1 }) },
    { weight: 1, arbitrary: fc.integer({ min: -DAY_MS, max: -10_000 }) },
  ),
  action: fc.constantFrom(
    "reserve",
    "reserve",
    "reserve",
    "extend",
    "settle",
    "settle",
    "release",
    "unknown",
    "beat",
  ),
  subjects: fc.uniqueArray(fc.record({ key: fc.nat(2), charges }), {
    selector: ({ key }) => key,
    minLength: 1,
    maxLength: 3,
  }),
  gateway: fc.nat(1),
  pick: fc.nat(20),
  amounts: fc.array(fc.nat(8), { minLength: 1, maxLength: 4 }),
  repeat: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const palettes = fc.uniqueArray(fc.nat(8), { minLength: 1, maxLength: 5 });

let round = 0;

/** The same calls to the arithmetic of core and to Redis. */
class Pair {
  readonly clock = new ManualClock();
  readonly reference = new CounterTable();
  readonly #store: RedisLimitStore;
  readonly #keys = Array.from({ length: 3 }, (_, i) => `user=${process.pid}-${round++}-${i}`);
  readonly #instances = [++round, 2 ** 47 + round];
  readonly specs: readonly LimitSpec[];
  open: ReserveRequest[] = [];
  readonly #palette: readonly number[];
  #sequence = 0;
  #steps = 0;

  /** `palette`: the limits that occur. Few together are reached each by itself, where many hide behind the slowest. */
  constructor(store: RedisLimitStore, palette: readonly number[]) {
    this.#store = store;
    this.#palette = palette;
    const start = this.clock.nowMs() - 12 * 3_600_000;
    this.specs = [
      rolling(9, 1_000),
      rolling(12, 777, { grainMs: 100 }),
      rolling(15, 60_000, { grainMs: 1 }),
      rolling(4, 500, { shadow: true }),
      bucket(8, 10, 1_000),
      bucket(6, 7, 999, { shadow: true }),
      calendar(
        20,
        [-3, -2, -1, 0, 1, 2].map((day) => start + day * DAY_MS),
      ),
      concurrency(3),
      concurrency(2, { shadow: true }),
    ];
  }

  nextId(gateway: number): ReservationId {
    return { instance: this.#instances[gateway], sequence: ++this.#sequence };
  }

  request(id: ReservationId, { subjects }: Pick<Step, "subjects">): ReserveRequest {
    return {
      id,
      ttlMs: TTL_MS,
      subjects: subjects.map(({ key, charges }) => ({
        key: this.#keys[key],
        charges: charges.slice(0, this.#palette.length).map(({ hold, more }, i) => ({
          spec: this.specs[this.#palette[(charges[0].limit + i) % this.#palette.length]],
          hold,
          need: hold + more,
        })),
      })),
    };
  }

  async reserve(request: ReserveRequest): Promise<void> {
    const expected = this.reference.reserve(request, this.clock.nowMs());
    assert.deepEqual(await this.#store.reserve(request), expected);
    if (expected.kind === "admitted" && !this.open.includes(request)) this.open.push(request);
  }

  async extend(request: ReserveRequest, force: boolean): Promise<void> {
    const extension = { ...request, step: ++this.#steps, force };
    for (let i = 0; i < 2; i++) {
      const expected = this.reference.extend(extension, this.clock.nowMs());
      assert.deepEqual(await this.#store.extend(extension), expected);
    }
  }

  async end(
    how: "settle" | "release",
    { id, subjects }: ReserveRequest,
    amounts: readonly number[],
  ): Promise<void> {
    let next = 0;
    const request: SettleRequest = {
      id,
      subjects: subjects.map(({ key, charges }) => ({
        key,
        charges: charges.map(({ spec }) => ({ spec, actual: amounts[next++ % amounts.length] })),
      })),
    };
    assert.equal(await this.#store[how](request), this.reference[how](request, this.clock.nowMs()));
  }

  async beat(gateway: number): Promise<void> {
    const instance = this.#instances[gateway];
    this.reference.beat(instance, LEASE_MS, this.clock.nowMs());
    await this.#store.beat(instance, LEASE_MS);
  }

  compareReadings(): Promise<void> {
    return this.compare(this.#keys.map((key) => ({ key, specs: this.specs })));
  }

  async compare(requests: readonly ReadRequest[]): Promise<void> {
    assert.deepEqual(await this.#store.read(requests), this.reference.read(requests, this.clock.nowMs()));
  }

  async run(current: Step): Promise<void> {
    const { action, amounts, gateway, pick } = current;
    this.clock.advance(current.clockMs);
    if (action === "beat") return this.beat(gateway);
    if (action === "unknown") {
      const request = this.request(this.nextId(gateway), current);
      await this.end(current.repeat ? "release" : "settle", request, amounts);
      return this.reserve(request);
    }
    const chosen = this.open[pick % Math.max(1, this.open.length)];
    if (action === "reserve" || chosen === undefined) {
      const request = this.request(this.nextId(gateway), current);
      await this.reserve(request);
      if (current.repeat && this.open.includes(request)) await this.reserve(request);
    } else if (action === "extend") {
      await this.extend(chosen, current.repeat);
    } else {
      this.open = this.open.filter((request) => request !== chosen);
      await this.end(action, chosen, amounts);
      if (!current.repeat) return;
      await this.end("settle", chosen, amounts);
      await this.reserve(chosen);
      await this.extend(chosen, true);
    }
  }
}

describe("RedisLimitStore", () => {
  let server: RedisServer;
  let client: RedisLimitStore;
  let clock = new ManualClock();

  before(async () => {
    server = await startRedisServer();
    client = await openRedisLimitStore({
      url: server.url,
      deadlineMs: 5_000,
      clock: { nowMs: () => clock.nowMs() },
    });
  });
  after(async () => {
    await client.close();
    await server.stop();
  });

  test("RedisLimitStore answers every history as the arithmetic of core does (L11)", async () => {
    await fc.assert(
      fc.asyncProperty(
        palettes,
        fc.array(step, { minLength: 5, maxLength: 40 }),
        async (palette, history) => {
          const pair = new Pair(client, palette);
          clock = pair.clock;
          await pair.beat(0);
          for (const current of history) {
            await pair.run(current);
            await pair.compareReadings();
          }
        },
      ),
      runs(250),
    );
  });

  test("RedisLimitStore answers calls on rolling windows, which it decides in one pass, as core does (L11)", async () => {
    const action = fc.record({
      clockMs: fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 0, max: 40 }) },
        { weight: 2, arbitrary: fc.integer({ min: 40, max: 300 }) },
        { weight: 1, arbitrary: fc.integer({ min: -30, max: 2_000 }) },
      ),
      // As many are closed as are opened, so that some are open in any sub-window.
      kind: fc.constantFrom("reserve", "reserve", "reserve", "settle", "settle", "release"),
      from: fc.nat(2),
      limits: fc.integer({ min: 1, max: 3 }),
      holds: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
      actual: fc.array(fc.nat(6), { minLength: 1, maxLength: 4 }),
      pick: fc.nat(20),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 20, maxLength: 80 }), async (history) => {
        const pair = new Pair(client, [0]);
        clock = pair.clock;
        const specs = [rolling(90, 1_000), rolling(150, 3_000), rolling(1e9, 60_000)];
        const keys = ["own", "shared"].map((name) => `user=${process.pid}-pass-${round++}-${name}`);
        for (const { clockMs, kind, from, limits, holds, actual, pick } of history) {
          pair.clock.advance(clockMs);
          const chosen = pair.open[pick % Math.max(1, pair.open.length)];
          if (kind === "reserve" || chosen === undefined) {
            const some = specs.slice(from, from + limits);
            const charges = some.map((spec, i) => ({
              spec,
              hold: holds[i % holds.length],
              need: holds[i % holds.length] + (pick === 0 ? 1 : 0),
            }));
            const subjects = keys.slice(0, pick % 4 === 0 ? 2 : 1).map((key) => ({ key, charges }));
            await pair.reserve({ id: pair.nextId(0), ttlMs: TTL_MS, subjects });
          } else {
            pair.open = pair.open.filter((request) => request !== chosen);
            await pair.end(kind === "release" ? "release" : "settle", chosen, actual);
          }
          await pair.compare(keys.map((key) => ({ key, specs })));
        }
      }),
      runs(100),
    );
  });

  test("RedisLimitStore answers as core does with more reservations than a value keeps (L6, L11)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 120, maxLength: 160 }), async (history) => {
        const pair = new Pair(client, [0]);
        clock = pair.clock;
        await pair.beat(0);
        const wide = rolling(1e9, 60_000);
        const subjects = [
          { key: `user=${process.pid}-wide-${round++}`, charges: [{ spec: wide, hold: 3, need: 3 }] },
        ];
        for (const { action, pick, amounts, repeat } of history) {
          pair.clock.advance(pick);
          // Twice as many are opened as are closed, until half of them are through.
          if (pair.open.length < 20 || (action === "reserve" && pair.open.length < 60)) {
            await pair.reserve({ id: pair.nextId(0), ttlMs: TTL_MS, subjects });
            continue;
          }
          const chosen = pair.open[pick % pair.open.length];
          if (action === "extend") await pair.extend(chosen, repeat);
          pair.open = pair.open.filter((request) => request !== chosen);
          await pair.end(repeat ? "release" : "settle", chosen, amounts);
          await pair.end("settle", chosen, amounts);
          await pair.reserve(chosen);
        }
        for (const request of pair.open) await pair.end("settle", request, [1]);
        for (const request of pair.open) await pair.end("settle", request, [1]);
      }),
      // Shrinking a long history would take longer than reading it.
      { ...runs(8), endOnFailure: true },
    );
  });
});
