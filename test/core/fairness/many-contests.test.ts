import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { LimitSpec } from "../../../src/core/limits/limit-spec.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { type Asked, SimulatedRoom } from "../../support/simulated-room.ts";

const NO_SHARES = [0, 0, 0, 0];
const ENDLESS = bucket(1e9, 1e9, 1_000);
const CONTESTS = 200;
const TURNS_MAX = 64;

type Limits = Asked["limits"];

/** Limits of a model that a client has made up, beside one for all. */
const limitsOf = (model: number, all: LimitSpec, need = 1): Limits => [
  [`model=${model}`, ENDLESS, 1],
  ["all", all, need],
];

/** A room that counts how often the limits are asked. */
class CountingRoom extends SimulatedRoom {
  asked = 0;

  constructor() {
    super(TURNS_MAX);
    this.bounds = { ...this.bounds, minShares: NO_SHARES };
    const reserve = this.table.reserve.bind(this.table);
    this.table.reserve = (...request) => {
      this.asked += 1;
      return reserve(...request);
    };
  }

  /** How often they are asked while `step` runs. */
  during(step: () => void): number {
    const before = this.asked;
    step();
    return this.asked - before;
  }
}

describe("WaitingRoom with as many contests as clients make up", () => {
  test("tries nobody behind a head for whom what all share does not do (L12)", () => {
    const room = new CountingRoom();
    const all = rolling(1, 60_000);
    room.enter("holder", { user: "z", limits: limitsOf(0, all) });
    for (let i = 0; i < CONTESTS; i++) room.waits(`c${i}`, { user: `u${i % 2}`, limits: limitsOf(i, all) });
    const asked = room.during(() => room.room.freed(["all"], undefined, undefined, room.nowMs));
    assert.equal(asked, 1);
    // Nobody is forgotten.
    room.advance(CONTESTS * 70_000);
    assert.equal(room.order.length, 1 + CONTESTS);
  });

  test("tries whoever asks for less of it (Q8)", () => {
    const room = new CountingRoom();
    const all = bucket(100, 1, 60_000);
    room.enter("holder", { user: "z", limits: limitsOf(0, all, 50) });
    room.waits("big", { user: "a", limits: limitsOf(1, all, 60), size: 60 });
    room.waits("as big", { user: "b", limits: limitsOf(2, all, 60), size: 60 });
    // Behind a smaller one that is too large to pass, so that it is not served when it comes.
    room.waits("small", { user: "c", limits: limitsOf(3, all, 40), size: 1_000 });
    assert.deepEqual(room.order, ["holder"]);
    const asked = room.during(() => room.room.freed(["all"], undefined, undefined, room.nowMs));
    assert.deepEqual(room.order, ["holder", "small"]);
    assert.equal(asked, 2);
  });

  test("compares what is asked of the same limits only (Q8)", () => {
    const room = new CountingRoom();
    // Of one account: one limit is spent, the other is not.
    const spent = rolling(1, 60_000);
    room.enter("holder", { user: "z", limits: [["all", spent, 1]] });
    room.waits("first", { user: "a", limits: [["all", spent, 1]], size: 1 });
    room.waits("other", { user: "b", limits: [["all", ENDLESS, 5]], size: 1_000 });
    room.room.freed(["all"], undefined, undefined, room.nowMs);
    assert.deepEqual(room.order, ["holder", "other"]);
  });

  test("serves so many in one go, and the rest in the next, in order (L12, Q8)", () => {
    const room = new CountingRoom();
    const all = concurrency(300, { id: 77 });
    for (let i = 0; i < 300; i++) room.enter(`holder${i}`, { user: "z", limits: limitsOf(0, all) });
    // Every user is served once, in the order of their coming.
    for (let i = 0; i < 300; i++) room.waits(`c${i}`, { user: `u${i}`, limits: limitsOf(i % 100, all) });
    const subjects = (i: number) =>
      limitsOf(0, all).map(([key, spec]) => ({ key, charges: [{ spec, actual: i }] }));
    for (let i = 0; i < 300; i++)
      room.table.settle({ id: { instance: 1, sequence: i + 1 }, subjects: subjects(0) }, room.nowMs);
    const asked = room.during(() => room.room.freed(["all"], undefined, undefined, room.nowMs));
    assert.ok(asked <= TURNS_MAX + 1, `${asked} in one go`);
    assert.ok(room.order.length > 300);
    assert.equal(room.room.nextDueMs, room.nowMs, "the rest is due at once");
    while (room.room.nextDueMs <= room.nowMs) {
      assert.ok(room.during(() => room.room.pump(room.nowMs)) <= TURNS_MAX + 1);
    }
    assert.deepEqual(
      room.order.slice(300),
      Array.from({ length: 300 }, (_, i) => `c${i}`),
    );
  });

  test("wakes so many in one go, and the rest in the next (L12)", () => {
    const room = new CountingRoom();
    const own = rolling(1, 60_000);
    for (const round of [1, 2]) {
      for (let i = 0; i < 300; i++) {
        const limits: Limits = [[`user=u${i}`, own, 1], ...limitsOf(i % 100, ENDLESS)];
        const { kind } = room.enter(`${round}-${i}`, { user: `u${i}`, limits });
        assert.equal(kind, round === 1 ? "granted" : "waiting");
      }
    }
    room.nowMs = room.room.nextDueMs;
    const asked = room.during(() => room.room.pump(room.nowMs));
    assert.ok(asked <= TURNS_MAX + 1, `${asked} in one go`);
    assert.equal(room.room.nextDueMs, room.nowMs, "the rest is due at once");
    room.advance(0);
    assert.equal(room.room.waiting, 0);
  });
});
