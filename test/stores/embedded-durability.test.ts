import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { PermitCall } from "../../src/ports/permit-queue.ts";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { Journal } from "../../src/stores/embedded/journal.ts";
import { type Ask, Gateway } from "../contract/gateway.ts";
import { concurrency, rolling } from "../contract/limit-specs.ts";
import { ROOM } from "../support/limit-rules.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

function directoryOf(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "sluice-durability-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** One gateway on an embedded store whose clock stands, and a limit of each kind that steps can be tried on. */
class Opened {
  readonly directory: string;
  readonly clock = new ManualClock();
  readonly requests = rolling(1_000_000, 60_000);
  readonly slots = concurrency(1);
  store: EmbeddedLimitStore;
  gateway: Gateway;

  constructor(t: TestContext) {
    this.directory = directoryOf(t);
    this.store = new EmbeddedLimitStore(this);
    this.gateway = new Gateway(this.store);
    t.after(() => this.store.close());
  }

  /** As a later process finds it. */
  async reopen(): Promise<void> {
    await this.store.close();
    this.store = new EmbeddedLimitStore(this);
    this.gateway = new Gateway(this.store);
  }

  ask(hold = 1): Ask {
    return { key: "user=alice", spec: this.requests, hold };
  }

  call(spec = this.requests as Ask["spec"]): PermitCall {
    const id = this.gateway.nextId();
    return {
      ...this.gateway.request(id, [{ key: "user=alice", spec, hold: 1 }]),
      isShared: [false],
      flow: "alice",
      priority: "normal",
      weight: 1,
      size: 10,
      bytes: 1_000,
      maxWaitMs: 60_000,
    };
  }

  enter(call: PermitCall) {
    return this.store.permits.enter(call, ROOM);
  }

  /** A call that waits for a slot, and the step that gives it one. */
  async waiting() {
    const first = this.call(this.slots);
    await this.store.beat(this.gateway.instance, 30_000);
    assert.equal((await this.enter(first)).kind, "granted");
    const permit = await this.enter(this.call(this.slots));
    assert.ok(permit.kind === "waiting");
    const free = () => {
      const subjects = [{ key: "user=alice", charges: [{ spec: this.slots, actual: 1 }] }];
      // What becomes of the settlement itself is another step's test.
      this.store.settle({ id: first.id, subjects }).catch(() => {});
      this.store.permits.freed({ keys: ["user=alice"], served: undefined, openMs: 1 });
    };
    return { permit, free };
  }
}

/** Every step that decides something. Prepared first, so that what is looked at is the step alone. */
const STEPS: Readonly<Record<string, (opened: Opened) => Promise<() => Promise<unknown>>>> = {
  reserve: async (opened) => () => opened.gateway.reserve([opened.ask()]),
  extend: async (opened) => {
    const held = await opened.gateway.reserve([opened.ask()]);
    return () => opened.gateway.extend(held, [2], 1);
  },
  settle: async (opened) => {
    const held = await opened.gateway.reserve([opened.ask()]);
    return () => opened.gateway.settle(held, [1]);
  },
  release: async (opened) => {
    const held = await opened.gateway.reserve([opened.ask()]);
    return () => opened.gateway.release(held);
  },
  "enter granted at once": async (opened) => () => opened.enter(opened.call()),
  "permit granted later": async (opened) => {
    const { permit, free } = await opened.waiting();
    return () => {
      free();
      return permit.decision;
    };
  },
};

for (const [name, prepare] of Object.entries(STEPS)) {
  test(`EmbeddedLimitStore ${name}: nobody is told before it is in the journal (X6, L7)`, async (t) => {
    const step = await prepare(new Opened(t));
    const events: string[] = [];
    const { append } = Journal.prototype;
    t.mock.method(Journal.prototype, "append", function (this: Journal, row: Uint8Array) {
      append.call(this, row);
      events.push("in the journal");
    });
    await step();
    events.push("told");
    assert.deepEqual(events, ["in the journal", "told"]);
  });

  test(`EmbeddedLimitStore ${name}: store_unavailable where the journal cannot be written (X6, L12)`, async (t) => {
    const step = await prepare(new Opened(t));
    t.mock.method(Journal.prototype, "append", () => {
      throw new Error("disk full");
    });
    await assert.rejects(step, { code: "store_unavailable", message: /disk full/ });
  });
}

test("EmbeddedLimitStore writes what a full disk kept back as soon as there is room again, and serves (L7, L12)", async (t) => {
  const opened = new Opened(t);
  const { gateway } = opened;
  const held = await gateway.reserve([opened.ask(5)]);
  const failing = t.mock.method(Journal.prototype, "append", () => {
    throw new Error("disk full");
  });
  await assert.rejects(gateway.settle(held, [7]), { code: "store_unavailable" });
  await assert.rejects(gateway.reserve([opened.ask()]), { code: "store_unavailable" });
  failing.mock.restore();
  const served = () =>
    gateway.reserve([opened.ask(3)]).then(
      ({ outcome }) => outcome.kind === "admitted",
      () => false,
    );
  await until(served);
  await opened.reopen();
  const { used, held: open } = await opened.gateway.read("user=alice", opened.requests);
  assert.deepEqual({ used, open }, { used: 7, open: 3 });
});

test("EmbeddedLimitStore close writes what the last turn has decided (X6, L7)", async (t) => {
  const opened = new Opened(t);
  const pending = opened.gateway.reserve([opened.ask(4)]);
  await opened.reopen();
  assert.equal((await opened.gateway.read("user=alice", opened.requests)).held, 4);
  assert.equal((await pending).outcome.kind, "admitted");
});

test("EmbeddedLimitStore killed while it folds its journal, or just after, has all that was charged meanwhile (L7, X6)", async (t) => {
  const opened = new Opened(t);
  const { store, gateway, requests, clock } = opened;
  // 32 keys of a megabyte fill the 32 MB after which a snapshot is made; each is a page of its own.
  const keys = Array.from({ length: 34 }, (_, i) => `${i}`.padEnd(1 << 20, "k"));
  const charge = (key: string, hold: number) => gateway.reserve([{ key, spec: requests, hold }]);
  const expected = new Map(keys.map((key) => [key, 1]));
  const folding = Promise.withResolvers<void>();
  const finished = Promise.withResolvers<void>();
  const copies: { readonly directory: string; readonly held: ReadonlyMap<string, number> }[] = [];
  const copy = () => {
    const directory = directoryOf(t);
    cpSync(opened.directory, directory, { recursive: true });
    copies.push({ directory, held: new Map(expected) });
  };
  const { addPage, finishSnapshot } = Journal.prototype;
  const charges: Promise<unknown>[] = [];
  t.mock.method(Journal.prototype, "addPage", function (this: Journal, page: number, body: Uint8Array) {
    addPage.call(this, page, body);
    const key = keys[page];
    if (key === undefined) return;
    if (page === 5) folding.resolve();
    // Once only, and what this page has of it is older.
    charges.push(charge(key, 10).then(() => expected.set(key, 11)));
  });
  t.mock.method(Journal.prototype, "finishSnapshot", function (this: Journal, position: number) {
    finishSnapshot.call(this, position);
    finished.resolve();
  });
  for (const key of keys) await charge(key, 1);
  await folding.promise;
  await charges.at(-1);
  copy();
  await finished.promise;
  await Promise.all(charges);
  copy();
  await store.close();
  for (const { directory, held } of copies) {
    const again = new EmbeddedLimitStore({ directory, clock });
    const reader = new Gateway(again);
    for (const [key, amount] of held) {
      assert.equal((await reader.read(key, requests)).held, amount, `key ${Number.parseInt(key, 10)}`);
    }
    await again.close();
  }
});
