import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { Journal } from "../../src/stores/embedded/journal.ts";
import { JournalWriter, readJournalRow } from "../../src/stores/embedded/journal-codec.ts";
import { Gateway, type Held } from "../contract/gateway.ts";
import { bucket, concurrency, rolling } from "../contract/limit-specs.ts";
import { limitStoreContract } from "../contract/limit-store.contract.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { runs } from "../support/property.ts";
import { until } from "../support/until.ts";

function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), "sluice-embedded-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

limitStoreContract("EmbeddedLimitStore", async () => {
  const clock = new ManualClock();
  const { directory, remove } = temporaryDirectory();
  const store = new EmbeddedLimitStore({ directory, clock });
  return {
    clock,
    stores: [store, store],
    close: async () => {
      await store.close();
      remove();
    },
  };
});

test("EmbeddedLimitStore finds every counter and reservation again after a restart (X6)", async () => {
  const clock = new ManualClock();
  const { directory, remove } = temporaryDirectory();
  const [requests, level, slots] = [rolling(100, 60_000), bucket(1e9, 1e6, 60_000), concurrency(1)];
  let store = new EmbeddedLimitStore({ directory, clock });
  const gateway = new Gateway(store);
  await store.beat(gateway.instance, 30_000);
  const users = ["alice", "böb ☃", "x".repeat(3_000)];
  const open: Held[] = [];
  for (const user of users) {
    const settled = await gateway.reserve([
      { key: user, spec: requests, hold: 40 },
      { key: user, spec: level, hold: 7 },
    ]);
    await gateway.settle(settled, [30, 8]);
    open.push(
      await gateway.reserve([
        { key: user, spec: requests, hold: 3 },
        { key: user, spec: slots, hold: 1 },
      ]),
    );
    clock.advance(7_001);
  }
  const before = await Promise.all(
    users.flatMap((user) => [gateway.read(user, requests), gateway.read(user, level)]),
  );
  await store.close();

  store = new EmbeddedLimitStore({ directory, clock });
  const next = new Gateway(store);
  const again = await Promise.all(
    users.flatMap((user) => [next.read(user, requests), next.read(user, level)]),
  );
  assert.deepEqual(again, before);
  // The dead process's concurrency is back (L9); what it held is not, and can still be settled.
  assert.equal((await next.read("alice", slots)).held, 0);
  assert.equal(await new Gateway(store).settle(open[0], [1, 1]), "settled");
  assert.equal(await new Gateway(store).settle(open[0], [1, 1]), "already");
  assert.equal((await next.read("alice", requests)).used, 31);
  await store.close();
  remove();
});

test("EmbeddedLimitStore folds its journal while it works and loses nothing by it (L7)", async () => {
  const clock = new ManualClock();
  const { directory, remove } = temporaryDirectory();
  const spec = rolling(1e12, 3_600_000);
  const padding = "k".repeat(20_000);
  let store = new EmbeddedLimitStore({ directory, clock });
  const gateway = new Gateway(store);
  const counts = new Map<string, number>();
  // Long keys fill the 32 MB after which a snapshot is made; it goes on while more is charged.
  for (let round = 0; round < 3_000; round++) {
    const key = `${round % 11}${padding}`;
    const held = await gateway.reserve([{ key, spec, hold: 5 }]);
    await gateway.settle(held, [round]);
    counts.set(key, (counts.get(key) ?? 0) + round);
  }
  const { size } = statSync(join(directory, "sluice.db"));
  assert.ok(size < 3_000 * 2 * padding.length, `${size} bytes`);
  await store.close();
  store = new EmbeddedLimitStore({ directory, clock });
  for (const [key, used] of counts) assert.equal((await new Gateway(store).read(key, spec)).used, used);
  await store.close();
  remove();
});

test("EmbeddedLimitStore folds what several short lives have left in its journal", async (t) => {
  const clock = new ManualClock();
  const { directory, remove } = temporaryDirectory();
  const spec = rolling(1e12, 3_600_000);
  const padding = "k".repeat(20_000);
  const finish = t.mock.method(Journal.prototype, "finishSnapshot");
  let used = 0;
  // Each life journals less than the 32 MB after which a snapshot is made; the second goes beyond them with what the first has left.
  for (const snapshots of [0, 1]) {
    const store = new EmbeddedLimitStore({ directory, clock });
    const gateway = new Gateway(store);
    for (let i = 0; i < 500; i++) {
      await gateway.settle(await gateway.reserve([{ key: padding, spec, hold: 1 }]), [2]);
      used += 2;
    }
    await until(() => finish.mock.callCount() === snapshots);
    await store.close();
  }
  const store = new EmbeddedLimitStore({ directory, clock });
  assert.equal((await new Gateway(store).read(padding, spec)).used, used);
  await store.close();
  remove();
});

test("EmbeddedLimitStore is refused a folder that another process uses, with the reason", async () => {
  const { directory, remove } = temporaryDirectory();
  const first = new EmbeddedLimitStore({ directory });
  assert.throws(() => new EmbeddedLimitStore({ directory }), /another process uses the store/);
  await first.close();
  await new EmbeddedLimitStore({ directory }).close();
  remove();
});

test("JournalWriter and readJournalRow give every state back", () => {
  const value = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.maxSafeInteger(),
    fc.integer({ min: 1_768_000_000_000, max: 1_769_000_000_000 }),
    fc.integer(),
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          key: fc.string({ unit: "grapheme" }),
          state: fc.array(value, { minLength: 2, maxLength: 30 }),
        }),
        {
          maxLength: 8,
        },
      ),
      fc.array(
        fc.record({
          id: fc.record({ instance: fc.maxSafeNat(), sequence: fc.maxSafeNat() }),
          holds: fc.array(value),
        }),
      ),
      (subjects, reservations) => {
        const writer = new JournalWriter();
        for (const { key, state } of subjects) writer.subject(key, state);
        for (const { id, holds } of reservations) {
          writer.open(id, { expiresMs: 17, step: 3, holds });
          writer.closed(id);
        }
        const read: unknown[] = [];
        readJournalRow(writer.row, {
          subject: (key, state) => read.push({ key, state }),
          reservation: (id, reservation) => read.push([id, reservation]),
        });
        const written = reservations.flatMap(({ id, holds }) => [
          [{ ...id }, { expiresMs: 17, step: 3, holds }],
          [{ ...id }, "closed"],
        ]);
        assert.deepEqual(read, [...subjects.map(({ key, state }) => ({ key, state })), ...written]);
      },
    ),
    runs(300),
  );
});
