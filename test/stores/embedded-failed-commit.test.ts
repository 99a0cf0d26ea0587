import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { Journal } from "../../src/stores/embedded/journal.ts";
import { Gateway } from "../contract/gateway.ts";
import { concurrency, rolling } from "../contract/limit-specs.ts";
import { Waiter } from "../contract/permit-queue.contract.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";
import { until } from "../support/until.ts";

const LIMIT = rolling(100, 60_000);

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "sluice-embedded-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("EmbeddedLimitStore close writes what a failed commit has left (X6)", async (t) => {
  const directory = temporaryDirectory(t);
  const clock = new ManualClock();
  const store = new EmbeddedLimitStore({ directory, clock });
  const gateway = new Gateway(store);
  const held = await gateway.reserve([{ key: "alice", spec: LIMIT, hold: 40 }]);
  const full = t.mock.method(Journal.prototype, "append", () => {
    throw new Error("database or disk is full");
  });
  await assert.rejects(gateway.settle(held, [30]), { code: "store_unavailable" });
  full.mock.restore();
  await store.close();
  const again = new EmbeddedLimitStore({ directory, clock });
  t.after(() => again.close());
  const { used, held: still } = await new Gateway(again).read("alice", LIMIT);
  assert.deepEqual([used, still], [30, 0]);
});

test("EmbeddedLimitStore close ends also where nothing can be written (X6)", async (t) => {
  const directory = temporaryDirectory(t);
  const store = new EmbeddedLimitStore({ directory, clock: new ManualClock() });
  const gateway = new Gateway(store);
  const full = t.mock.method(Journal.prototype, "append", () => {
    throw new Error("database or disk is full");
  });
  await assert.rejects(gateway.reserve([{ key: "alice", spec: LIMIT, hold: 1 }]), {
    code: "store_unavailable",
    message: /disk is full/,
  });
  await store.close();
  full.mock.restore();
});

test("EmbeddedLimitStore says once that it cannot write, and once that it can again (L12)", async (t) => {
  const telemetry = new RecordingTelemetry();
  const store = new EmbeddedLimitStore({ directory: temporaryDirectory(t), telemetry });
  t.after(() => store.close());
  const full = t.mock.method(Journal.prototype, "append", () => {
    throw new Error("database or disk is full");
  });
  const gateway = new Gateway(store);
  await assert.rejects(gateway.reserve([{ key: "alice", spec: LIMIT, hold: 1 }]));
  await until(() => full.mock.callCount() >= 3);
  full.mock.restore();
  await until(() => telemetry.lines.length > 1);
  assert.deepEqual(
    telemetry.lines.map((line) => line.split(":")[0].split(" {")[0]),
    ["error the embedded store cannot write", "info the embedded store can write again"],
  );
});

test("EmbeddedLimitStore says in a sentence that its file is damaged, wherever it is (X3)", async (t) => {
  const clock = new ManualClock();
  for (const page of [0, 1, 2]) {
    const directory = temporaryDirectory(t);
    const store = new EmbeddedLimitStore({ directory, clock });
    await new Gateway(store).reserve([{ key: "alice", spec: LIMIT, hold: 1 }]);
    await store.close();
    const file = openSync(join(directory, "sluice.db"), "r+");
    writeSync(file, Buffer.alloc(4_096, 0xff), 0, 4_096, page * 4_096);
    closeSync(file);
    assert.throws(
      () => new EmbeddedLimitStore({ directory, clock }),
      { code: "store_unavailable", message: /^the store in / },
      `page ${page}`,
    );
  }
});

test("EmbeddedLimitStore does not count against a user what was granted and could not be written (Q1)", async (t) => {
  const store = new EmbeddedLimitStore({ directory: temporaryDirectory(t) });
  t.after(() => store.close());
  const waiter = new Waiter(store, 101);
  await store.beat(101, 600_000);
  const specs = [{ key: "account=1", spec: concurrency(1) }];
  const first = await waiter.granted({ user: "zoe", specs });
  const large = await waiter.waiting({ user: "ann", specs, part: { size: 1_000 } });
  const { id, subjects } = first;
  await store.release({ id, subjects });
  const full = t.mock.method(Journal.prototype, "append", () => {
    throw new Error("database or disk is full");
  });
  waiter.permits.freed({ keys: ["account=1"], served: undefined, openMs: 5 });
  await assert.rejects(large.decision, { code: "store_unavailable" });
  full.mock.restore();
  // As the engine does when the store is back.
  const release = () =>
    store.release({ id: large.call.id, subjects: large.call.subjects }).then(
      () => true,
      () => false,
    );
  await until(release);
  const second = await waiter.granted({ user: "zoe", specs });
  const ben = await waiter.waiting({ user: "ben", specs });
  const again = await waiter.waiting({ user: "ben", specs });
  const ann = await waiter.waiting({ user: "ann", specs });
  await waiter.end(second);
  assert.equal((await ben.decision).kind, "granted");
  await waiter.end(ben.call, 1, true);
  const next = await Promise.race([ann.decision.then(() => "ann"), again.decision.then(() => "ben")]);
  assert.equal(next, "ann");
  again.leave();
});
