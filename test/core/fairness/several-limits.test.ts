import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Ticket } from "../../../src/core/fairness/lane.ts";
import type { LimitSpec } from "../../../src/core/limits/limit-spec.ts";
import type { Priority } from "../../../src/core/policy/policy.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { runs } from "../../support/property.ts";
import { SimulatedRoom } from "../../support/simulated-room.ts";

const NO_SHARES = [0, 0, 0, 0];
const ENDLESS = bucket(1e9, 1e9, 1_000);

describe("WaitingRoom with limits of one's own and limits that are shared", () => {
  test("wakes who waits for a limit of its own when that is given back, and nobody else (Q5, Q8)", () => {
    const room = new SimulatedRoom();
    const own = concurrency(1);
    const limits = (user: string) => [[`user=${user}`, own, 1] as const, ["account", ENDLESS, 1] as const];
    for (const user of ["u", "v"]) room.enter(`${user}1`, { user, limits: limits(user) });
    for (const user of ["v", "u"]) room.waits(`${user}2`, { user, limits: limits(user) });
    room.end("u1");
    assert.deepEqual(room.order, ["u1", "v1", "u2"]);
    assert.equal(room.room.waiting, 1);
  });

  test("lets nobody wait for a limit that only another flow is at (Q8)", () => {
    const room = new SimulatedRoom();
    const own = rolling(1, 10_000);
    const limits = (user: string) => [[`user=${user}`, own, 1] as const, ["account", ENDLESS, 1] as const];
    room.enter("u1", { user: "u", limits: limits("u") });
    room.waits("u2", { user: "u", limits: limits("u"), priority: "high" });
    assert.equal(room.enter("v1", { user: "v", limits: limits("v"), priority: "low" }).kind, "granted");
    room.advance(11_000);
    assert.deepEqual(room.order, ["u1", "v1", "u2"]);
  });

  for (const inWhichContest of ["the same limits", "other limits too"]) {
    test(`lets those who wake up from a limit of their own, and ask for ${inWhichContest}, pass a head only within its bound (Q1)`, () => {
      const room = new SimulatedRoom();
      room.bounds = { ...room.bounds, minShares: NO_SHARES };
      const account = bucket(1_000, 1_000, 1_000_000);
      const own = rolling(1, 10_000);
      const team = inWhichContest === "the same limits" ? [] : [["team", ENDLESS, 1] as const];
      for (let i = 0; i < 50; i++) {
        room.enter(`first${i}`, { user: `u${i}`, limits: [[`user=u${i}`, own, 1]] });
      }
      room.enter("holder", { user: "z", limits: [["account", account, 700]], size: 700 });
      // Its bound is 40.
      room.waits("big", { user: "big", limits: [["account", account, 990]], size: 10 });
      for (let i = 0; i < 50; i++) {
        const limits = [[`user=u${i}`, own, 1] as const, ...team, ["account", account, 1] as const];
        room.waits(`small${i}`, { user: `u${i}`, limits, size: 5 });
      }
      room.advance(11_000);
      const passed = room.order.filter((name) => name.startsWith("small")).length;
      assert.equal(passed, 8);
      room.advance(1_000_000);
      assert.equal(room.order.indexOf("big"), 59);
    });
  }

  test("saves for a head only what it waits for: others of its limits are free for others (Q8)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: NO_SHARES };
    const x = bucket(100, 1, 1_000);
    const y = bucket(100, 1, 1_000);
    const both = (a: number, b: number) => [["x", x, a] as const, ["y", y, b] as const];
    room.enter("holder", { user: "z", limits: both(90, 10), size: 10 });
    room.waits("big", { user: "big", limits: both(50, 50), size: 1 });
    // As much as may pass, and more.
    room.waits("in its way", { user: "v", limits: [["x", x, 5]], size: 5 });
    room.waits("too", { user: "w", limits: [["x", x, 5]], size: 5 });
    room.waits("not in its way", { user: "u", limits: [["y", y, 60]], size: 5 });
    room.advance(0);
    assert.deepEqual(room.order, ["holder", "in its way", "not in its way"]);
    room.advance(100_000);
    assert.deepEqual(room.order.slice(3), ["big", "too"]);
  });

  test("looks at everybody whom those held up that a leaving head held up (Q5, Q8)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: NO_SHARES };
    const x = bucket(10, 1, 1_000_000);
    const y = bucket(10, 1, 1_000_000);
    room.enter("holder", { user: "z", limits: [["x", x, 5]], size: 5 });
    // Each is too large to pass the one before it.
    const head = room.enter("head", { user: "a", limits: [["x", x, 8]], size: 1 });
    room.waits("both", { user: "b", limits: [["x", x, 4] as const, ["y", y, 1] as const], size: 100 });
    room.waits("last", { user: "c", limits: [["y", y, 2]], size: 1_000 });
    assert.equal(head.kind, "waiting");
    room.room.leave(head.ticket, room.nowMs);
    assert.deepEqual(room.order, ["holder", "both", "last"]);
  });

  test("serves the least served of all who are in each other's way, whatever else they ask for (Q1)", () => {
    const room = new SimulatedRoom();
    const account = concurrency(1);
    const limits = (team: string) => [
      [`team=${team}`, ENDLESS, 1] as const,
      ["account", account, 1] as const,
    ];
    room.enter("holder", { user: "z", limits: limits("x") });
    for (let i = 0; i < 3; i++) {
      room.waits(`a${i}`, { user: "a", limits: limits("x"), size: 20 });
      room.waits(`b${i}`, { user: "b", limits: limits("y"), size: 10 });
    }
    for (let i = 0; i < 6; i++) room.end(room.order.at(-1) as string);
    assert.deepEqual(room.order, ["holder", "a0", "b0", "b1", "a1", "b2", "a2"]);
  });

  test("serves the highest priority of all who are in each other's way first (Q2)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: NO_SHARES };
    const account = concurrency(1);
    const limits = (team: string) => [
      [`team=${team}`, ENDLESS, 1] as const,
      ["account", account, 1] as const,
    ];
    room.enter("holder", { user: "z", limits: limits("x") });
    const priorities = ["low", "normal", "high", "critical"] as const;
    for (const priority of priorities) {
      for (let i = 0; i < 2; i++) {
        // Higher ones have had more already.
        const size = 1 + 10 * priorities.indexOf(priority);
        room.waits(`${priority}${i}`, { user: priority, limits: limits(priority), priority, size });
      }
    }
    for (let i = 0; i < 8; i++) room.end(room.order.at(-1) as string);
    const inOrder = [...priorities].reverse().flatMap((priority) => [`${priority}0`, `${priority}1`]);
    assert.deepEqual(room.order, ["holder", ...inOrder]);
  });

  test("lets a lower priority's call pass a higher one's that does not fit, as long as it is within the bound (Q2, Q8)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: NO_SHARES };
    const account = bucket(100, 1, 1_000);
    const limits = (need: number) => [["account", account, need] as const];
    room.enter("holder", { user: "z", limits: limits(50), size: 50 });
    room.waits("big", { user: "big", limits: limits(60), size: 6, priority: "high" });
    // 24 may pass.
    for (let i = 0; i < 8; i++)
      room.enter(`low${i}`, { user: "l", limits: limits(5), size: 5, priority: "low" });
    assert.deepEqual(room.order, ["holder", "low0", "low1", "low2", "low3"]);
    room.advance(40_000);
    assert.deepEqual(room.order.slice(5), ["big", "low4", "low5"].slice(0, room.order.length - 5));
  });
});

/** Calls that all ask for one of each of some limits, so that none of them is larger than another and who fits is a plain question. */
const SHARED: readonly (readonly [string, LimitSpec])[] = [
  ["x", concurrency(2)],
  ["y", concurrency(3)],
  ["account", bucket(6, 4, 1_000)],
];
const OWN: readonly LimitSpec[] = [concurrency(2), rolling(3, 700, { grainMs: 70 })];
const PRIORITY: readonly Priority[] = ["high", "normal", "normal", "low"];

const enter = fc.record({
  kind: fc.constant("enter" as const),
  user: fc.nat(3),
  priority: fc.nat(3),
  shared: fc.subarray([0, 1, 2]),
  own: fc.subarray([0, 1]),
  size: fc.integer({ min: 1, max: 9 }),
});
const pick = (kind: "end" | "leave") => fc.record({ kind: fc.constant(kind), pick: fc.nat(20) });
const advance = fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(400) });
const step = fc.oneof(
  { weight: 5, arbitrary: enter },
  { weight: 3, arbitrary: pick("end") },
  { weight: 1, arbitrary: pick("leave") },
  { weight: 2, arbitrary: advance },
);

interface Waiting {
  readonly user: number;
  readonly ticket: Ticket;
  readonly limits: readonly (readonly [string, LimitSpec, number])[];
  /** Who is served first come first served: the same flow, asking for the same. */
  readonly lane: string;
}

test("WaitingRoom leaves nobody waiting who fits, keeps each flow in order, and is never due in the past (Q8, Q1)", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 150, size: "max" }), (steps) => {
      const room = new SimulatedRoom();
      room.bounds = { ...room.bounds, minShares: [0, 0.2, 0.1, 0.05] };
      const waiting = new Map<string, Waiting>();
      const open = new Set<string>();
      let seen = 0;
      const look = () => {
        // Who came behind others may have to be looked at once more.
        if (room.room.nextDueMs <= room.nowMs) room.room.pump(room.nowMs);
        assert.ok(room.room.nextDueMs > room.nowMs, "due at once, again and again");
        for (; seen < room.order.length; seen++) {
          const name = room.order[seen];
          const own = waiting.get(name);
          open.add(name);
          waiting.delete(name);
          if (own === undefined) continue;
          for (const [other, { lane }] of waiting) {
            assert.ok(
              lane !== own.lane || Number(other) > Number(name),
              `${name} was served before ${other}`,
            );
          }
        }
        assert.equal(room.room.waiting, waiting.size);
        for (const [name, { limits }] of waiting) {
          const fits = limits.every(([key, spec, need]) => {
            const [{ remaining }] = room.table.read([{ key, specs: [spec] }], room.nowMs);
            return remaining >= need;
          });
          assert.ok(!fits, `${name} waits, and fits`);
        }
        if (waiting.size === 0) assert.equal(room.room.nextDueMs, Number.POSITIVE_INFINITY);
      };
      for (const [i, one] of steps.entries()) {
        const name = `${i}`;
        if (one.kind === "enter") {
          const { user, size } = one;
          const limits = [
            ...one.own.map((at) => [`user=${user}.${at}`, OWN[at], 1] as const),
            ...one.shared.map((at) => [...SHARED[at], 1] as const),
          ];
          if (limits.length === 0) continue;
          const priority = PRIORITY[one.priority];
          const entry = room.enter(name, { user: `u${user}`, priority, size, limits });
          const lane = `${user} ${priority} ${one.own} ${one.shared}`;
          if (entry.kind === "waiting") waiting.set(name, { user, ticket: entry.ticket, limits, lane });
        } else if (one.kind === "end" && open.size > 0) {
          const ended = [...open][one.pick % open.size];
          open.delete(ended);
          room.end(ended);
        } else if (one.kind === "leave" && waiting.size > 0) {
          const leaving = [...waiting.keys()][one.pick % waiting.size];
          room.room.leave((waiting.get(leaving) as Waiting).ticket, room.nowMs);
          waiting.delete(leaving);
        } else if (one.kind === "advance") {
          room.advance(one.ms);
        }
        look();
      }
    }),
    runs(300),
  );
});
