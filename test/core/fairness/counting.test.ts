import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ServiceOrder } from "../../../src/core/fairness/service-order.ts";
import { bucket, concurrency } from "../../contract/limit-specs.ts";
import { place, SimulatedRoom } from "../../support/simulated-room.ts";

const NO_SHARES = [0, 0, 0, 0];
const servedOf = (room: SimulatedRoom, user: string) =>
  room.order.filter((name) => name.startsWith(user)).length;

/** One place, somebody on it, and two users who wait with many calls. */
function twoWaiting() {
  const room = new SimulatedRoom();
  room.bounds = { ...room.bounds, minShares: NO_SHARES };
  const limits = [place()];
  room.enter("holder", { user: "z", limits });
  for (let i = 0; i < 40; i++) {
    room.waits(`a${i}`, { user: "a", limits });
    room.waits(`b${i}`, { user: "b", limits });
  }
  return { room, limits };
}

describe("WaitingRoom counts service", () => {
  test("as it turns out to be: who used more than expected lets others go first, until that is made up for (Q1)", () => {
    const { room } = twoWaiting();
    room.end("holder");
    // Ten times what was expected.
    room.end("a0", 1, 100);
    for (let i = 0; i < 10; i++) room.end(room.order.at(-1) as string);
    assert.deepEqual([servedOf(room, "a"), servedOf(room, "b")], [2, 10]);
  });

  test("as it turns out to be: who used less goes first, as often as that pays for (Q1)", () => {
    const { room } = twoWaiting();
    room.end("holder");
    // A tenth of what was expected.
    for (let i = 0; i < 22; i++) {
      const name = room.order.at(-1) as string;
      room.end(name, 1, name.startsWith("a") ? 1 : 10);
    }
    assert.deepEqual([servedOf(room, "a"), servedOf(room, "b")], [21, 2]);
  });

  test("only while others wait, and tells whoever owns the room (Q1)", () => {
    const room = new SimulatedRoom();
    const limits = [place(3)];
    const first = room.enter("first", { user: "a", limits, size: 1_000 });
    assert.ok(first.kind === "granted" && !first.isCounted);
    const own = concurrency(1);
    const mine = (user: string) => [[`user=${user}`, own, 1] as const, ...limits];
    room.enter("own", { user: "u", limits: mine("u"), size: 1_000 });
    room.waits("behind", { user: "u", limits: mine("u"), size: 10 });
    const counted = room.enter("counted", { user: "a", limits, size: 30 });
    assert.ok(counted.kind === "granted" && counted.isCounted);
    // "behind" is of another flow and has had nothing; "late" has 30.
    room.waits("late", { user: "a", limits, size: 10 });
    room.waits("new", { user: "n", limits, size: 10 });
    room.end("first");
    assert.equal(room.order.at(-1), "new");
  });

  test("of a newcomer against those whom it passes: it may not go on and on (Q1)", () => {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: NO_SHARES };
    const account = bucket(100, 1, 1_000);
    const limits = (need: number) => [["account", account, need] as const];
    room.enter("holder", { user: "z", limits: limits(50), size: 50 });
    room.waits("big", { user: "big", limits: limits(60), size: 12 });
    const passes = (user: string) => {
      const asked = { user, limits: limits(5), size: 5, maxWaitMs: 0 };
      return room.enter(`${user}${room.order.length}`, asked).kind === "granted";
    };
    // Twice 5 is less than the 12 that the head will have had, three times is not.
    assert.deepEqual([passes("u"), passes("u"), passes("u")], [true, true, false]);
    assert.deepEqual([passes("v"), passes("v"), passes("v")], [true, true, false]);
    // A higher priority passes with nothing but its call to be counted, a lower one within the head's bound only.
    const higher = { user: "h", limits: limits(5), size: 5, priority: "high" as const };
    assert.equal(room.enter("high", higher).kind, "granted");
    const lower = { user: "l", limits: limits(5), size: 5, priority: "low" as const };
    assert.equal(room.enter("low0", lower).kind, "granted", "25 of 48");
  });

  test("of a flow that went away: what is not settled yet is remembered (Q1)", () => {
    const order = new ServiceOrder(2);
    const gone = order.candidate("gone", 1);
    order.charge(gone, 10);
    gone.unsettled = 1;
    const idle = order.candidate("idle", 1);
    order.charge(idle, 10);
    const always = order.candidate("always", 1);
    order.join(always);
    order.charge(always, 1_000);
    for (let i = 0; i < 3_000; i++) order.charge(order.candidate(`once${i}`, 1), 1);
    assert.equal(order.find("idle"), undefined);
    assert.equal(order.find("gone"), gone);
    assert.equal(order.candidate("gone", 1).unsettled, 1);
  });

  test("and takes note of a settlement whose flow nobody knows any more", () => {
    const room = new SimulatedRoom();
    room.room.freed(["account"], { flow: "never seen", priority: "normal", correction: 5 }, 1, room.nowMs);
    assert.equal(room.room.waiting, 0);
  });
});

describe("WaitingRoom owes lower priorities their share", () => {
  /** Ten units a second, all used up, one who waits at low priority, and higher ones who would take everything. */
  function owing() {
    const room = new SimulatedRoom();
    room.bounds = { ...room.bounds, minShares: [0, 0, 0, 0.5] };
    const account = bucket(20, 10, 1_000);
    const limits = (need: number) => [["account", account, need] as const];
    room.enter("holder", { user: "z", limits: limits(20), size: 20 });
    return { room, limits };
  }

  test("before higher ones that wait, once it pays for the next call (Q2)", () => {
    const { room, limits } = owing();
    for (let i = 0; i < 8; i++) {
      room.waits(`high${i}`, { user: "h", limits: limits(5), size: 5, priority: "high" });
      room.waits(`low${i}`, { user: "l", limits: limits(5), size: 5, priority: "low" });
    }
    room.advance(4_000);
    // Half of all service, its own included.
    assert.deepEqual(room.order.slice(1, 9), [
      "high0",
      "high1",
      "low0",
      "high2",
      "low1",
      "high3",
      "low2",
      "high4",
    ]);
  });

  test("also before critical calls that come anew, and only as far as its bound (Q2)", () => {
    const { room, limits } = owing();
    room.waits("low", { user: "l", limits: limits(10), size: 10, priority: "low" });
    const critical = (name: string) =>
      room.enter(name, { user: "c", limits: limits(5), size: 5, priority: "critical", maxWaitMs: 0 }).kind;
    // 5 come each time. Four of them make it owed all of 10; from then on it is passed as a head is passed: by 40, which is eight.
    const passed = Array.from({ length: 14 }, (_, i) => {
      room.advance(500);
      return critical(`c${i}`) === "granted";
    });
    assert.equal(passed.indexOf(false), 12);
    assert.equal(room.order.indexOf("low"), 13);
  });
});

test("WaitingRoom is full exactly at its bounds, and says when it would have been a call's turn (Q6)", () => {
  const room = new SimulatedRoom();
  const limits = [place()];
  room.enter("holder", { user: "z", limits });
  const kindOf = (name: string, user: string, bytes = 10) => {
    const entry = room.enter(name, { user, limits, bytes });
    if (entry.kind !== "turned") return entry.kind;
    assert.ok(entry.waitMs >= 1);
    return entry.reason;
  };
  room.bounds = { ...room.bounds, waitingPerFlowMax: 2, waitingMax: 3, bytesPerFlowMax: 30, bytesMax: 60 };
  assert.deepEqual(
    ["u0", "u1", "u2"].map((name) => kindOf(name, "u")),
    ["waiting", "waiting", "queue_full"],
  );
  assert.equal(kindOf("too many bytes", "v", 31), "queue_full");
  assert.equal(kindOf("just as many bytes", "v", 30), "waiting");
  assert.equal(kindOf("too many", "w"), "queue_full");
  room.bounds = { ...room.bounds, waitingMax: 10 };
  assert.equal(kindOf("too many bytes in all", "w", 11), "queue_full");
  assert.equal(kindOf("just as many in all", "w", 10), "waiting");
  // Bounds are of what waits, not of what was: the next has room again.
  room.end("holder");
  assert.equal(kindOf("after one was served", "u"), "waiting");
});
