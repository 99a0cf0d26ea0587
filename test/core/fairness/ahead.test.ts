import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Ticket } from "../../../src/core/fairness/lane.ts";
import { bucket, concurrency, rolling } from "../../contract/limit-specs.ts";
import { runs } from "../../support/property.ts";
import { type Asked, place, SimulatedRoom } from "../../support/simulated-room.ts";

const SECOND_MS = 1_000;

/** One call a second of all, and nothing left. */
function oneASecond() {
  const room = new SimulatedRoom();
  room.bounds = { ...room.bounds, minShares: [0, 0, 0, 0] };
  const limits = [["account", bucket(10, 10, 10 * SECOND_MS), 1] as const];
  for (let i = 0; i < 10; i++) room.enter(`first${i}`, { user: "first", limits });
  const waits = (name: string, asked: Partial<Asked> = {}) =>
    room.waits(name, { user: name[0], limits, ...asked });
  const look = (ticket: Ticket) => {
    const { position, expectedMs } = room.room.look(ticket, room.nowMs);
    return [position, Math.round(expectedMs / SECOND_MS)];
  };
  return { room, limits, waits, look };
}

describe("WaitingRoom tells where a call stands", () => {
  test("among flows that take turns (Q4)", () => {
    const { waits, look } = oneASecond();
    const a = [1, 2, 3, 4, 5].map((i) => waits(`a${i}`));
    assert.deepEqual(a.map(look), [
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
      [5, 5],
    ]);
    const b = [1, 2].map((i) => waits(`b${i}`));
    assert.deepEqual(b.map(look), [
      [2, 2],
      [4, 4],
    ]);
    // As far as can be told: turn about, and never behind more than there are.
    assert.deepEqual(a.map(look), [
      [2, 2],
      [4, 4],
      [6, 6],
      [7, 7],
      [7, 7],
    ]);
  });

  test("among flows of different weight (Q4)", () => {
    const { waits, look } = oneASecond();
    for (let i = 0; i < 12; i++) waits(`a${i}`);
    const heavy = [1, 2].map((i) => waits(`h${i}`, { weight: 3 }));
    // A third of its turn is another's: (1 × 4 ÷ 3) − 1 in front of the first, and calls are whole.
    assert.deepEqual(heavy.map(look), [
      [1, 2],
      [2, 3],
    ]);
    const light = waits("l", { weight: 1 });
    assert.deepEqual(look(light), [5, 5]);
  });

  test("behind all of the higher priorities, and in front of the lower (Q4, Q2)", () => {
    const { waits, look } = oneASecond();
    for (let i = 0; i < 3; i++) waits(`h${i}`, { priority: "high" });
    for (let i = 0; i < 4; i++) waits(`l${i}`, { priority: "low" });
    assert.deepEqual(look(waits("n", { priority: "normal" })), [4, 4]);
    assert.deepEqual(look(waits("c", { priority: "critical" })), [1, 1]);
    assert.deepEqual(look(waits("m", { priority: "low" })), [7, 7]);
  });

  test("by what its own lane has in front of it, where nothing is shared (Q4)", () => {
    const room = new SimulatedRoom();
    const limits = (user: string) =>
      [[`user=${user}`, bucket(1, 1, SECOND_MS, { id: user.charCodeAt(0) }), 1] as const] as const;
    for (const user of ["u", "v"]) room.enter(`first ${user}`, { user, limits: limits(user) });
    for (let i = 0; i < 5; i++) room.waits(`u${i}`, { user: "u", limits: limits("u") });
    const ticket = room.waits("v", { user: "v", limits: limits("v") });
    assert.deepEqual(room.room.look(ticket, room.nowMs), { position: 1, expectedMs: SECOND_MS });
  });

  test("anew when others leave or are served (Q4, Q5)", () => {
    const { room, waits, look } = oneASecond();
    const first = [1, 2, 3].map((i) => waits(`h${i}`, { priority: "high" }));
    const a = [1, 2, 3].map((i) => waits(`a${i}`));
    assert.deepEqual(look(a[2]), [6, 6]);
    room.room.leave(first[1], room.nowMs);
    room.room.leave(a[0], room.nowMs);
    assert.deepEqual(look(a[2]), [4, 4]);
    room.advance(SECOND_MS);
    assert.deepEqual(look(a[2]), [3, 3]);
    assert.deepEqual(room.room.look(a[0], room.nowMs), { position: 0, expectedMs: 0 }, "it does not wait");
  });

  test("of a flow's first calls as of each alone, walking a line once (X3)", () => {
    const { room, waits, limits } = oneASecond();
    const tickets = Array.from({ length: 300 }, (_, i) => {
      if (i % 7 === 0) room.nowMs += 1;
      // Two lines of one flow.
      return waits(
        `a${i}`,
        i % 2 === 0 ? {} : { limits: [...limits, ["place", concurrency(1), 1] as const] },
      );
    });
    const seen = room.room.lookAll("a", "normal", 20, room.nowMs);
    assert.equal(seen.total, 300);
    assert.equal(seen.first.length, 20);
    for (const { ticket, position, expectedMs } of seen.first)
      assert.deepEqual({ position, expectedMs }, room.room.look(ticket, room.nowMs));
    const inOrder = tickets.toSorted(
      (a, b) => a.enteredMs - b.enteredMs || (a.lane?.sequence ?? 0) - (b.lane?.sequence ?? 0),
    );
    assert.deepEqual(
      seen.first.map(({ ticket }) => tickets.indexOf(ticket)),
      inOrder.slice(0, 20).map((ticket) => tickets.indexOf(ticket)),
    );
    let reads = 0;
    const { table } = room;
    const expectedWait = table.expectedWait.bind(table);
    table.expectedWait = (...args) => {
      reads += 1;
      return expectedWait(...args);
    };
    room.room.lookAll("a", "normal", 20, room.nowMs);
    assert.equal(reads, 20, "limits are only asked for what is shown");
  });

  test("by what each call needs of each limit that is shared (Q4)", () => {
    const room = new SimulatedRoom();
    const requests = bucket(100, 10, 10 * SECOND_MS);
    const tokens = bucket(100, 10, 10 * SECOND_MS);
    const limits = (calls: number, modelTokens: number) =>
      [["account", requests, calls] as const, ["house", tokens, modelTokens] as const] as const;
    room.enter("first", { user: "z", limits: limits(100, 100) });
    const a = [1, 2, 3].map((i) => room.waits(`a${i}`, { user: "a", limits: limits(2, 7) }));
    const expected = (ticket: Ticket) => room.room.look(ticket, room.nowMs).expectedMs / SECOND_MS;
    assert.deepEqual(a.map(expected), [7, 14, 21]);
    const b = room.waits("b", { user: "b", limits: limits(20, 5) });
    // Turn about: 20 of its own and as many of another's, of which there are 6.
    assert.equal(expected(b), 26);
    room.room.leave(a[0], room.nowMs);
    room.room.leave(a[2], room.nowMs);
    assert.deepEqual([expected(a[1]), expected(b)], [12, 22]);
  });

  test("by how long calls took on average, where it waits for a place (Q4)", () => {
    const room = new SimulatedRoom();
    const limits = [place(2)];
    const expected = (ticket: Ticket) => room.room.look(ticket, room.nowMs).expectedMs;
    room.enter("one", { user: "z", limits });
    room.enter("two", { user: "z", limits });
    const [first, second, third, fourth] = [1, 2, 3, 4].map((i) =>
      room.waits(`w${i}`, { user: "w", limits }),
    );
    assert.equal(expected(first), 0, "nothing is known yet");
    room.advance(1_000);
    room.end("one");
    assert.deepEqual(room.order.slice(2), ["w1"]);
    assert.equal(expected(second), 500);
    assert.equal(expected(third), 1_000);
    room.advance(1_000);
    room.end("two");
    // A tenth of the way from 1,000 to 2,000, and two places.
    assert.equal(expected(third), 550);
    assert.equal(expected(fourth), 1_100);
    const refused = room.enter("late", { user: "v", limits, maxWaitMs: 500 });
    assert.ok(refused.kind === "turned" && refused.reason === "limited" && refused.waitMs > 500);
  });
});

test("WaitingRoom keeps its word on a flow's own limits: each call is served when it was told, not before (Q4, L3)", () => {
  const call = fc.record({
    need: fc.integer({ min: 1, max: 20 }),
    maxWaitMs: fc.constantFrom(1_000, 5_000, 1e8),
  });
  fc.assert(
    fc.property(
      fc.constantFrom("bucket", "rolling", "both"),
      fc.array(fc.record({ afterMs: fc.nat(1_500), calls: fc.array(call, { maxLength: 3 }) }), {
        maxLength: 12,
        size: "max",
      }),
      (kind, bursts) => {
        const room = new SimulatedRoom();
        const small = bucket(20, 10, 1_000);
        // So large that all that waits fits one window: beyond it is an estimate.
        const large = rolling(40, 60_000);
        const told = new Map<string, number>();
        let used = 0;
        for (const [i, { afterMs, calls }] of bursts.entries()) {
          for (const [j, { need, maxWaitMs }] of calls.entries()) {
            const limits = [
              ...(kind !== "rolling" ? [["user=a", small, need] as const] : []),
              ...(kind !== "bucket" ? [["user=b", large, need] as const] : []),
            ];
            if (kind !== "bucket" && used + need > 40) continue;
            const name = `${i} ${j}`;
            const entry = room.enter(name, { user: "u", limits, maxWaitMs });
            if (entry.kind === "turned") {
              assert.equal(entry.reason, "limited");
              assert.ok(entry.waitMs > maxWaitMs);
              continue;
            }
            used += need;
            told.set(name, entry.kind === "waiting" ? room.nowMs + entry.expectedMs : room.nowMs);
          }
          room.advance(afterMs);
        }
        room.advance(1e7);
        assert.equal(room.room.waiting, 0);
        assert.equal(room.room.nextDueMs, Number.POSITIVE_INFINITY, "nothing is due when nobody waits");
        for (const [name, atMs] of told) {
          const grantedMs = room.grantedMs(name);
          assert.ok(
            Math.abs(grantedMs - atMs) <= 1,
            `${name}: told ${atMs - room.nowMs}, got ${grantedMs - room.nowMs}`,
          );
        }
      },
    ),
    runs(150),
  );
});

test("WaitingRoom refuses on arrival what waits longer behind others than it may, and lets wait what just may (Q4)", () => {
  const { room, limits, waits } = oneASecond();
  for (let i = 0; i < 4; i++) waits(`a${i}`);
  const refused = room.enter("late", { user: "a", limits, maxWaitMs: 4_999 });
  assert.ok(refused.kind === "turned" && refused.reason === "limited" && refused.waitMs === 5_000);
  assert.equal(room.enter("in time", { user: "a", limits, maxWaitMs: 5_000 }).kind, "waiting");
  // Another flow's turn comes sooner: the second of two, then.
  const other = room.enter("other", { user: "b", limits, maxWaitMs: 1_999 });
  assert.ok(other.kind === "turned" && other.waitMs === 2_000);
  const critical = room.enter("critical", { user: "c", limits, priority: "critical", maxWaitMs: 1_000 });
  assert.equal(critical.kind, "waiting");
  const none = new SimulatedRoom();
  none.enter("holder", { user: "z", limits: [["place", concurrency(1, { id: 5 }), 1]] });
  const waitless = none.enter("waitless", {
    user: "y",
    limits: [["place", concurrency(1, { id: 5 }), 1]],
    maxWaitMs: 0,
  });
  assert.ok(waitless.kind === "turned" && waitless.reason === "limited" && waitless.waitMs === 1);
});

test("WaitingRoom reckons with how long calls were open, and not with calls of which nobody knows (Q4)", () => {
  const room = new SimulatedRoom();
  const limits = [["account", concurrency(1), 1] as const];
  room.enter("open", { user: "other", limits });
  const ticket = room.waits("waits", { user: "a", limits });
  const expectedMs = () => room.room.look(ticket, room.nowMs).expectedMs;
  room.room.freed(["account"], undefined, 20 * SECOND_MS, room.nowMs);
  const known = expectedMs();
  for (let i = 0; i < 10; i++) room.room.freed(["account"], undefined, undefined, room.nowMs);
  assert.equal(expectedMs(), known);
  room.room.freed(["account"], undefined, 0, room.nowMs);
  assert.ok(expectedMs() < known);
});
