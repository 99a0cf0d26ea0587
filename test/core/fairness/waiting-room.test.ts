import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Ticket } from "../../../src/core/fairness/lane.ts";
import { PRIORITIES } from "../../../src/core/fairness/permit.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { ROOM } from "../../support/limit-rules.ts";
import { runs } from "../../support/property.ts";
import { place, SimulatedRoom } from "../../support/simulated-room.ts";

describe("WaitingRoom", () => {
  test("serves a flow first come first served, and flows by turns (Q1)", () => {
    const room = new SimulatedRoom();
    const limits = [place()];
    room.enter("holder", { user: "z", limits });
    for (const name of ["a1", "a2", "a3", "b1", "b2"]) room.waits(name, { user: name[0], limits });
    for (const name of ["holder", "a1", "b1", "a2", "b2"]) room.end(name);
    assert.deepEqual(room.order, ["holder", "a1", "b1", "a2", "b2", "a3"]);
  });

  test("serves by weight and by size (Q1)", () => {
    const room = new SimulatedRoom();
    const limits = [place()];
    room.enter("holder", { user: "z", limits });
    for (let i = 0; i < 4; i++) room.waits(`a${i}`, { user: "a", limits, weight: 2, size: 10 });
    for (let i = 0; i < 4; i++) room.waits(`b${i}`, { user: "b", limits, size: 10 });
    room.end("holder");
    for (let i = 1; i < 6; i++) room.end(room.order[i]);
    const served = (user: string) => room.order.filter((name) => name.startsWith(user)).length;
    assert.deepEqual([served("a"), served("b")], [4, 2]);
  });

  test("serves higher priorities first, and a newcomer does not pass who waits in front of it (Q2)", () => {
    const room = new SimulatedRoom();
    const limits = [place(2)];
    room.enter("one", { user: "z", limits });
    room.enter("two", { user: "z", limits });
    for (const priority of ["low", "normal", "high", "critical"] as const) {
      room.waits(priority, { user: priority, limits, priority });
    }
    room.end("one");
    room.end("two");
    room.end("critical");
    assert.equal(room.enter("late", { user: "late", limits, priority: "low" }).kind, "waiting");
    room.end("high");
    assert.deepEqual(room.order.slice(2), ["critical", "high", "normal", "low"]);
  });

  test("lets critical calls by while limits allow, and counts them, so that the rest get their minimum share (Q2)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...ROOM, minShares: [0, 0, 0.2, 0] };
    const spec = bucket(1_000, 1_000, 1_000);
    const limits = [["account", spec, 100] as const];
    for (let i = 0; i < 10; i++) room.enter(`first${i}`, { user: "z", limits, size: 100 });
    for (let i = 0; i < 50; i++) room.waits(`n${i}`, { user: "n", limits, size: 100 });
    let critical = 0;
    for (let i = 0; i < 200; i++) {
      room.advance(50);
      const name = `c${critical}`;
      if (
        room.enter(name, { user: "c", limits, size: 100, priority: "critical", maxWaitMs: 0 }).kind ===
        "granted"
      ) {
        critical += 1;
      }
    }
    const normal = room.order.filter((name) => name.startsWith("n")).length;
    assert.ok(critical > 0);
    assert.ok(normal >= 0.2 * (normal + critical) - 2, `${normal} of ${normal + critical}`);
  });

  test("lets smaller calls pass a head that does not fit, only as far as its bound goes (Q1)", () => {
    const room = new SimulatedRoom();
    const spec = bucket(1_000, 1_000, 1_000_000);
    const limits = (need: number) => [["account", spec, need] as const];
    room.enter("holder", { user: "z", limits: limits(700), size: 700 });
    room.waits("big", { user: "big", limits: limits(900), size: 900 });
    // 300 are there now, and one more every second.
    let small = 0;
    while (
      room.enter(`s${small}`, { user: `s${small}`, limits: limits(10), size: 10, maxWaitMs: 0 }).kind ===
      "granted"
    ) {
      small += 1;
      room.advance(10_000);
      assert.ok(small < 2_000);
      if (room.order.includes("big")) break;
    }
    // Four times its own size at the most goes before it.
    assert.ok(small * 10 <= 4 * 900 + 10, `${small}`);
    room.advance(1_000_000);
    assert.ok(room.order.includes("big"));
  });

  test("refuses a call that cannot be served in its time, with when it would be (Q4, L3)", () => {
    const room = new SimulatedRoom();
    const spec = rolling(1, 60_000);
    const limits = [["user=u", spec, 1] as const];
    room.enter("first", { user: "u", limits });
    const refused = room.enter("second", { user: "u", limits, maxWaitMs: 50_000 });
    assert.ok(refused.kind === "turned" && refused.reason === "limited");
    room.advance(refused.waitMs);
    assert.equal(room.enter("third", { user: "u", limits, maxWaitMs: 0 }).kind, "granted");
  });

  test("says when a call of a queue is going to be served, and is right where nothing else comes (Q4, L3)", () => {
    const room = new SimulatedRoom();
    const spec = bucket(10, 10, 10_000);
    const limits = [["account", spec, 10] as const];
    room.enter("first", { user: "z", limits });
    const tickets = [0, 1, 2, 3, 4].map((i) => room.waits(`w${i}`, { user: "u", limits }));
    for (const [i, ticket] of tickets.entries()) {
      const { position, expectedMs } = room.room.look(ticket, room.nowMs);
      assert.equal(position, i + 1);
      assert.ok(Math.abs(expectedMs - (i + 1) * 10_000) <= 1, `${expectedMs}`);
    }
    room.advance(49_990);
    assert.equal(room.order.length, 5);
    room.advance(11);
    assert.equal(room.order.length, 6);
    const refused = room.enter("late", { user: "v", limits, maxWaitMs: 5_000 });
    assert.ok(refused.kind === "turned" && refused.waitMs > 5_000 && refused.waitMs <= 10_001);
  });

  test("refuses at once what can never fit, whoever waits (L4)", () => {
    const room = new SimulatedRoom();
    const limits = [place()];
    room.enter("holder", { user: "z", limits });
    room.waits("waiting", { user: "w", limits });
    const entry = room.enter("huge", { user: "h", limits: [["place", limits[0][1], 2]] });
    assert.ok(entry.kind === "turned" && entry.reason === "never_fits");
  });

  test("is bounded in calls and bytes, of a flow and in total, with ten thousand of one user (Q6)", () => {
    const room = new SimulatedRoom();
    room.bounds = {
      ...ROOM,
      waitingMax: 150,
      waitingPerFlowMax: 100,
      bytesMax: 1_500,
      bytesPerFlowMax: 1_000,
    };
    const limits = [place()];
    room.enter("holder", { user: "z", limits });
    let full = 0;
    for (let i = 0; i < 10_000; i++) {
      const entry = room.enter(`w${i}`, { user: "whale", limits, bytes: 5 });
      if (entry.kind === "turned" && entry.reason === "queue_full") full += 1;
    }
    assert.equal(full, 9_900);
    room.waits("other", { user: "other", limits, bytes: 900 });
    const entry = room.enter("another", { user: "another", limits, bytes: 101 });
    assert.ok(entry.kind === "turned" && entry.reason === "queue_full");
    room.end("holder");
    room.end("w0");
    assert.equal(room.order[2], "other", "the whale had its turn");
  });

  test("serves the next when who is first leaves (Q5)", () => {
    const room = new SimulatedRoom();
    const spec = bucket(100, 1, 1_000);
    const limits = (need: number) => [["account", spec, need] as const];
    room.enter("holder", { user: "z", limits: limits(95), size: 95 });
    const big = room.waits("big", { user: "big", limits: limits(90), size: 90 });
    room.room.leave(big, room.nowMs);
    room.room.leave(big, room.nowMs);
    assert.equal(room.room.waiting, 0);
    assert.equal(room.enter("small", { user: "small", limits: limits(5), size: 5 }).kind, "granted");
  });

  test("serves a flow's next call at once when its first, which had to wait for the flow's own limit, leaves (Q5)", () => {
    const room = new SimulatedRoom();
    const spec = bucket(100, 1, 1_000);
    const limits = (need: number) => [["user=u", spec, need] as const];
    room.enter("holder", { user: "u", limits: limits(90), size: 90 });
    const big = room.waits("big", { user: "u", limits: limits(95), size: 95 });
    room.waits("small", { user: "u", limits: limits(5), size: 5 });
    room.room.leave(big, room.nowMs);
    assert.deepEqual(room.order, ["holder", "small"]);
  });

  test("serves others at once when a head that they had passed often enough leaves; critical calls pass it all the same (Q5, Q2)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...ROOM, minShares: [0, 0, 0, 0] };
    const spec = bucket(1_000, 1_000, 1_000_000);
    const limits = (need: number) => [["account", spec, need] as const];
    room.enter("holder", { user: "z", limits: limits(700), size: 700 });
    const big = room.waits("big", { user: "big", limits: limits(990), size: 10 });
    for (let i = 0; i < 4; i++) {
      const entry = room.enter(`small${i}`, { user: `small${i}`, limits: limits(10), size: 10 });
      assert.equal(entry.kind, "granted");
    }
    room.waits("stopped", { user: "stopped", limits: limits(10), size: 10 });
    const asked = { user: "c", limits: limits(10), size: 10, maxWaitMs: 0 };
    assert.equal(room.enter("critical", { ...asked, priority: "critical" }).kind, "granted");
    assert.equal(room.enter("normal", asked).kind, "turned");
    room.waits("large", { user: "d", limits: limits(990), size: 1, priority: "critical" });
    assert.equal(room.enter("another", { ...asked, priority: "critical" }).kind, "granted");
    room.room.leave(big, room.nowMs);
    assert.equal(room.order.at(-1), "another", "a large critical call is first in line now");
    room.advance(1_000_000);
    assert.deepEqual(room.order.slice(-2), ["large", "stopped"]);
  });

  test("goes on when the clock steps back or far ahead (L5)", () => {
    const room = new SimulatedRoom();
    const spec = rolling(1, 60_000);
    const limits = [["user=u", spec, 1] as const];
    room.enter("first", { user: "u", limits });
    room.waits("second", { user: "u", limits });
    room.nowMs -= 3_600_000;
    room.room.pump(room.nowMs);
    assert.deepEqual(room.order, ["first"]);
    room.nowMs += 7_200_000;
    room.room.pump(room.nowMs);
    assert.deepEqual(room.order, ["first", "second"]);
  });
});

/** Anything that users can do: come with calls of any size and priority, stay or leave, run for any time. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("enter" as const),
      user: fc.nat(5),
      size: fc.integer({ min: 1, max: 60 }),
      band: fc.constantFrom(1, 2, 2, 2, 3),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("end" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(3_000) }) },
);
const SIZE_MAX = 60;
const EQUAL = [1, 1, 1, 1, 1, 1];
const DIFFERENT = [1, 1, 2, 4, 0.5, 1];

/** Service ÷ weight of two users over any time in which both wait: at most so far apart, see `WaitingRoom`. */
const boundOf = (weights: readonly number[]) => (2 * SIZE_MAX) / Math.min(...weights);

for (const [name, limitsOf] of [
  [
    "places",
    () => {
      const spec = concurrency(3);
      return () => [["place", spec, 1] as const];
    },
  ],
  [
    "model tokens",
    () => {
      const spec = bucket(100, 40, 1_000);
      return (size: number) => [["account", spec, size] as const];
    },
  ],
] as const) {
  for (const weights of [EQUAL, DIFFERENT])
    test(`WaitingRoom serves users of weights ${weights} who wait for ${name} within a bound of each other, whatever they do (Q1)`, () => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 20, maxLength: 250, size: "max" }), (steps) => {
          const room = new SimulatedRoom();
          const limits = limitsOf();
          const waiting = new Map<string, { user: number; ticket: Ticket }>();
          const sizes = new Map<string, { user: number; size: number }>();
          /** By pair of users: the service of each since both began to wait, ÷ weight. */
          const since = new Map<string, [number, number]>();
          const ended = new Set<string>();
          let seen = 0;
          const isWaiting = (user: number) => [...waiting.values()].some((one) => one.user === user);
          const look = () => {
            for (; seen < room.order.length; seen++) {
              const granted = room.order[seen];
              waiting.delete(granted);
              const { user, size } = sizes.get(granted) as { user: number; size: number };
              for (const [pair, service] of since) {
                const [a, b] = pair.split(" ").map(Number);
                if (user === a) service[0] += size / weights[a];
                if (user === b) service[1] += size / weights[b];
                assert.ok(
                  Math.abs(service[0] - service[1]) <= boundOf(weights) + 1e-9,
                  `${pair}: ${service}`,
                );
              }
              restart();
            }
            restart();
          };
          const restart = () => {
            for (let a = 0; a < 6; a++) {
              for (let b = a + 1; b < 6; b++) {
                const pair = `${a} ${b}`;
                if (!isWaiting(a) || !isWaiting(b)) since.delete(pair);
                else if (!since.has(pair)) since.set(pair, [0, 0]);
              }
            }
          };
          for (const [i, one] of steps.entries()) {
            const called = `call${i}`;
            if (one.kind === "enter") {
              const { user, size } = one;
              sizes.set(called, { user, size });
              const entry = room.enter(called, {
                user: `u${user}`,
                weight: weights[user],
                size,
                limits: limits(size),
              });
              if (entry.kind === "waiting") waiting.set(called, { user, ticket: entry.ticket });
            } else if (one.kind === "end") {
              const open = room.order.filter((granted) => !ended.has(granted));
              if (open.length === 0) continue;
              const granted = open[one.pick % open.length];
              ended.add(granted);
              room.end(granted, name === "places" ? 1 : sizes.get(granted)?.size);
            } else if (one.kind === "leave") {
              const names = [...waiting.keys()];
              if (names.length === 0) continue;
              const leaving = names[one.pick % names.length];
              const { ticket } = waiting.get(leaving) as { ticket: Ticket };
              // Whoever is served because it left is served when it does not wait any more.
              waiting.delete(leaving);
              restart();
              room.room.leave(ticket, room.nowMs);
            } else {
              room.advance(one.ms);
            }
            look();
          }
        }),
        runs(150),
      );
    });
}

test("WaitingRoom leaves no place empty while somebody waits, and serves the highest priority first (Q8, Q2)", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 200, size: "max" }), (steps) => {
      const room = new SimulatedRoom();
      room.bounds = { ...ROOM, minShares: [0, 0, 0, 0] };
      const CAPACITY = 3;
      const limits = [place(CAPACITY)];
      const waiting = new Map<string, { band: number; ticket: Ticket; at: number }>();
      const open = new Set<string>();
      let seen = 0;
      const look = () => {
        for (; seen < room.order.length; seen++) {
          const granted = room.order[seen];
          const own = waiting.get(granted);
          waiting.delete(granted);
          open.add(granted);
          // Nobody of a higher priority was left waiting for it.
          if (own !== undefined) for (const other of waiting.values()) assert.ok(other.band >= own.band);
        }
        assert.ok(waiting.size === 0 || open.size === CAPACITY, `${open.size} open, ${waiting.size} waiting`);
        assert.equal(room.room.waiting, waiting.size);
      };
      for (const [i, one] of steps.entries()) {
        const called = `call${i}`;
        if (one.kind === "enter") {
          const asked = { user: `u${one.user}`, size: one.size, priority: PRIORITIES[one.band], limits };
          const entry = room.enter(called, asked);
          if (entry.kind === "waiting") waiting.set(called, { band: one.band, ticket: entry.ticket, at: i });
        } else if (one.kind === "end" && open.size > 0) {
          const granted = [...open][one.pick % open.size];
          open.delete(granted);
          room.end(granted);
        } else if (one.kind === "leave" && waiting.size > 0) {
          const leaving = [...waiting.keys()][one.pick % waiting.size];
          room.room.leave((waiting.get(leaving) as { ticket: Ticket }).ticket, room.nowMs);
          waiting.delete(leaving);
        } else if (one.kind === "advance") {
          room.advance(one.ms);
        }
        look();
      }
    }),
    runs(150),
  );
});
