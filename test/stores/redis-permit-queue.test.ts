import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { OperationalError } from "../../src/core/operational-error.ts";
import type { ReleaseRequest, ReservationId } from "../../src/ports/limit-store.ts";
import type { PermitCall } from "../../src/ports/permit-queue.ts";
import { RedisPermitQueue } from "../../src/stores/redis/redis-permit-queue.ts";
import { encodeFreed, type RoomRequest, ticketName } from "../../src/stores/redis/room-codec.ts";
import { concurrency } from "../contract/limit-specs.ts";
import { ROOM } from "../support/limit-rules.ts";
import { until } from "../support/until.ts";

const ID: ReservationId = { instance: 3, sequence: 14 };
const SIZE = 900;
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

const unavailable = () => new OperationalError("store_unavailable", "Redis does not answer");

/** A queue whose Redis is the test: `reply` says what comes of each request. */
function start(t: TestContext, reply: (request: RoomRequest) => unknown) {
  const asked: RoomRequest[] = [];
  const released: ReleaseRequest[] = [];
  let hear: (message: Buffer) => void = () => {};
  const queue = new RedisPermitQueue({
    isCluster: false,
    run: async (_, requests) => {
      asked.push(...requests);
      return [-1, ...requests.map(reply)];
    },
    encode: () => ({ keys: ["account=a"], request: Buffer.alloc(12) }),
    subjectKey: (key) => key,
    granted: () => {},
    release: async (request) => {
      released.push(request);
    },
    listen: async (_, onMessage) => {
      hear = onMessage;
    },
  });
  t.after(() => queue.close());
  const letters = () => asked.map(({ letter }) => letter).join("");
  const freed = () => asked.filter(({ letter }) => letter === "f");
  /** The room has granted the call. */
  const grant = () => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(ADMITTED.length);
    hear(Buffer.concat([ticketName(ID), length, ADMITTED]));
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
