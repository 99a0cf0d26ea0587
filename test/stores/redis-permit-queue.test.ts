import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { OperationalError } from "../../src/core/operational-error.ts";
import type { ReleaseRequest, ReservationId } from "../../src/ports/limit-store.ts";
import type { PermitCall } from "../../src/ports/permit-queue.ts";
import { RedisPermitQueue, type RoomLink } from "../../src/stores/redis/redis-permit-queue.ts";
import { encodeFreed, type RoomRequest, ticketName } from "../../src/stores/redis/room-codec.ts";
import { concurrency } from "../contract/limit-specs.ts";
import { ROOM } from "../support/limit-rules.ts";
import { until } from "../support/until.ts";

const ID: ReservationId = { instance: 3, sequence: 14 };
const SIZE = 900;
const TICKET_BYTES = 12;
const SUBJECTS = [{ key: "account=a", charges: [{ spec: concurrency(1), hold: 1, need: 1 }] }];
const CALL: PermitCall = {
  id: ID,
  subjects: SUBJECTS,
  isShared: [true],
  ttlMs: 600_000,
  flow: "ann",
  priority: "normal",
  weight: 1,
  size: SIZE,
  bytes: 1,
  maxWaitMs: 60_000,
};
/** What takes back that the flow was served. */
const TAKEN_BACK = encodeFreed(
  { keys: ["account=a"], served: { flow: "ann", priority: "normal", correction: -SIZE }, openMs: undefined },
  ["account=a"],
);

/** As `reserve.lua` says it, of one charge. */
const ADMITTED = Buffer.from(Float64Array.from([0, 0, -1, 0, 1, 1_000, 0]).buffer);

const doubles = (...numbers: readonly number[]) => Buffer.from(Float64Array.from(numbers).buffer);

const unavailable = () => new OperationalError("store_unavailable", "Redis does not answer");

/** A queue whose Redis is the test: `reply` says what comes of each request, `link` what else is not as usual. */
function start(t: TestContext, reply: (request: RoomRequest) => unknown, link: Partial<RoomLink> = {}) {
  const asked: RoomRequest[] = [];
  const released: ReleaseRequest[] = [];
  let hear: (message: Buffer) => void = () => {};
  const queue = new RedisPermitQueue({
    isCluster: false,
    run: async (_, requests) => {
      asked.push(...requests);
      return [-1, ...requests.map(reply)];
    },
    encode: ({ id }) => ({ keys: ["account=a"], request: ticketName(id) }),
    subjectKey: (key) => key,
    granted: () => {},
    release: async (request) => {
      released.push(request);
    },
    listen: async (_, onMessage) => {
      hear = onMessage;
    },
    ...link,
  });
  t.after(() => queue.close());
  const letters = () => asked.map(({ letter }) => letter).join("");
  const freed = () => asked.filter(({ letter }) => letter === "f");
  /** The room has granted the call. */
  const grant = (id = ID, generation = 1) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(ADMITTED.length);
    hear(Buffer.concat([doubles(generation), ticketName(id), length, ADMITTED]));
  };
  return { queue, released, letters, freed, grant };
}

test("RedisPermitQueue gives back what is granted to a call that it has given up, and that its flow was served (Q5, Q1)", async (t) => {
  const { queue, released, freed, grant, letters } = start(t, ({ letter }) => {
    if (letter === "e") throw unavailable();
    return letter === "l" ? "-1" : 0;
  });
  await assert.rejects(queue.enter(CALL, ROOM), unavailable());
  await turn();
  grant();
  await until(() => freed().length === 2);
  assert.deepEqual(freed()[1], TAKEN_BACK);
  assert.deepEqual(
    released.map(({ id }) => id),
    [ID, ID],
  );
  assert.doesNotMatch(letters(), /l/, "it need not be looked for any more");
});

test("RedisPermitQueue takes back that a flow was served when the grant is heard, and the answer that it waits is not (Q1)", async (t) => {
  let answer: (error: Error) => void = () => {};
  const { queue, freed, grant } = start(t, ({ letter }) => {
    if (letter !== "e") return 0;
    answer(unavailable());
    throw unavailable();
  });
  const failed = new Promise((resolve) => {
    answer = (error) => {
      grant();
      resolve(error);
    };
  });
  await assert.rejects(queue.enter(CALL, ROOM), unavailable());
  await failed;
  await until(() => freed().length === 1);
  assert.deepEqual(freed()[0], TAKEN_BACK);
});

test("RedisPermitQueue looks twice for a call that the room does not have: its grant may be under way (Q5)", async (t) => {
  const { queue, letters } = start(t, ({ letter }) => {
    if (letter === "e") throw unavailable();
    return letter === "l" ? "-1" : 0;
  });
  await assert.rejects(queue.enter(CALL, ROOM), unavailable());
  await until(() => /l.*l/.test(letters()));
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(letters().replaceAll("f", ""), "ell");
});

test("RedisPermitQueue looks until Redis answers for a call that it has given up, and no longer (Q7)", async (t) => {
  let answers = 0;
  const { queue, letters } = start(t, ({ letter }) => {
    if (letter === "e") throw unavailable();
    if (letter !== "l") return 0;
    answers += 1;
    if (answers < 3) throw unavailable();
    return "120";
  });
  await assert.rejects(queue.enter(CALL, ROOM), unavailable());
  await until(() => answers === 3);
  for (let i = 0; i < 5; i++) await turn();
  assert.equal(letters().replaceAll("f", ""), "elll");
});

/** The reply to an enter: it waits in the room of this generation. */
const waits = (generation: number) => doubles(5, generation);
const callOf = (sequence: number): PermitCall => ({ ...CALL, id: { ...ID, sequence } });

test("RedisPermitQueue queues up again, in order, when the room tells that it began anew (L12)", async (t) => {
  let generation = 1;
  const entered: string[] = [];
  const { queue, grant } = start(t, ({ letter, args }) => {
    if (letter !== "e") return letter === "p" ? [0, String(generation)] : 0;
    entered.push((args[0] as Buffer).subarray(0, TICKET_BYTES).toString("hex"));
    return waits(generation);
  });
  const nameOf = (sequence: number) => ticketName(callOf(sequence).id).toString("hex");
  const decided: string[] = [];
  for (const sequence of [1, 2]) {
    const entry = await queue.enter(callOf(sequence), ROOM);
    assert.ok(entry.kind === "waiting");
    entry.decision.then(({ kind }) => decided.push(`${sequence} ${kind}`), assert.ifError);
  }
  generation = 2;
  const third = await queue.enter(callOf(3), ROOM);
  assert.ok(third.kind === "waiting");
  await until(() => entered.length === 5);
  assert.deepEqual(entered, [1, 2, 3, 1, 2].map(nameOf));
  // One that was granted before all was lost is not, and has its place again.
  grant(callOf(1).id, 1);
  await turn();
  assert.deepEqual(decided, []);
  grant(callOf(2).id, 2);
  grant(callOf(1).id, 2);
  await until(() => decided.length === 2);
  assert.deepEqual(decided, ["2 granted", "1 granted"]);
});

test("RedisPermitQueue refuses what cannot wait a second time, and lets nobody queue up again who has left (L12, Q4)", async (t) => {
  let generation = 1;
  let entered = 0;
  const { queue } = start(t, ({ letter }) => {
    if (letter !== "e") return letter === "p" ? [0, String(generation)] : -1;
    entered += 1;
    // There would be room in two minutes.
    return entered > 3 ? [1, 0, "120000", Buffer.alloc(0)] : waits(generation);
  });
  const [first, left] = [await queue.enter(callOf(1), ROOM), await queue.enter(callOf(2), ROOM)];
  assert.ok(first.kind === "waiting" && left.kind === "waiting");
  left.leave();
  generation = 2;
  await queue.enter(callOf(3), ROOM);
  assert.deepEqual(await first.decision, { kind: "timed_out", waitMs: 120_000 });
  assert.equal(entered, 4);
});

test("RedisPermitQueue listens on where a subscription fails that it has given up already (L12)", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const heartbeat = Promise.withResolvers<unknown>();
  const subscriptions: (PromiseWithResolvers<void> & { readonly lost: () => void })[] = [];
  const listen: RoomLink["listen"] = (_gateway, _onMessage, lost) => {
    const subscription = { ...Promise.withResolvers<void>(), lost };
    subscriptions.push(subscription);
    return subscription.promise;
  };
  const { queue, letters } = start(t, ({ letter }) => (letter === "p" ? heartbeat.promise : waits(1)), {
    listen,
  });
  const enter = async (sequence: number) => {
    const entry = queue.enter(callOf(sequence), ROOM);
    entry.catch(() => {});
    await turn();
    return entry;
  };
  const first = enter(1);
  subscriptions[0].resolve();
  await first;
  t.mock.timers.tick(1_000);
  await turn();
  assert.equal(letters(), "ep");
  // The connection breaks while the room is told that this gateway lives: twice a reason to give up.
  subscriptions[0].lost();
  const second = enter(2);
  heartbeat.reject(unavailable());
  await turn();
  const third = enter(3);
  subscriptions[1].reject(unavailable());
  await assert.rejects(second, unavailable());
  subscriptions[2].resolve();
  await third;
  await enter(4);
  assert.equal(subscriptions.length, 3);
});
