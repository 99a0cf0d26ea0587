import assert from "node:assert/strict";
import { test } from "node:test";
import type { Decision, Waiting } from "../../src/engine/admission.ts";
import { awaitTurn } from "../../src/gateway/await-turn.ts";
import type { ClientResponse, ResponseListener } from "../../src/gateway/http-server/client-call.ts";
import { KeepaliveResponse } from "../../src/gateway/keepalive-response.ts";

const REFUSED = { kind: "refused" } as Decision;

/** A client that remembers what it is sent, and a place to wait. */
function stage() {
  const sent: string[] = [];
  let listener: ResponseListener | undefined;
  let left = 0;
  const response: ClientResponse = {
    isGone: false,
    hasHead: false,
    listen: (heard) => {
      listener = heard;
    },
    onLeft: () => {},
    closeAfter: () => {},
    writeHead: (status) => sent.push(`head ${status}`),
    flushHead: () => {},
    write: (bytes) => sent.push(bytes.toString()) > 0,
    end: () => {},
    destroy: () => {},
  };
  const { promise, resolve } = Promise.withResolvers<Decision>();
  const waiting: Waiting = {
    kind: "waiting",
    expectedMs: 60_000,
    keepalive: true,
    decision: promise,
    leave: () => {
      left += 1;
    },
  };
  const kept = new KeepaliveResponse(response, (body) => body);
  return { sent, response, kept, waiting, decide: resolve, go: () => listener?.onGone(), left: () => left };
}

const COMMENT = /^: waiting for .+\n\n$/;

test("awaitTurn begins a stream after three seconds, and sends a comment every ten until its turn has come", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, kept, waiting, decide } = stage();
  const decision = awaitTurn(waiting, kept, []);
  t.mock.timers.tick(2_999);
  assert.deepEqual(sent, []);
  t.mock.timers.tick(1);
  for (const comments of [1, 2, 3, 4]) {
    assert.equal(sent[0], "head 200");
    assert.equal(sent.length, 1 + comments);
    assert.match(sent[comments], COMMENT);
    t.mock.timers.tick(9_999);
    assert.equal(sent.length, 1 + comments);
    t.mock.timers.tick(1);
  }
  const before = sent.length;
  decide(REFUSED);
  assert.equal(await decision, REFUSED);
  t.mock.timers.tick(60_000);
  assert.equal(sent.length, before);
});

test("awaitTurn begins nothing where the answer cannot be begun early", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, response, waiting, decide } = stage();
  const decision = awaitTurn(waiting, response, []);
  t.mock.timers.tick(60_000);
  decide(REFUSED);
  assert.equal(await decision, REFUSED);
  assert.deepEqual(sent, []);
});

test("awaitTurn gives up the place of a client that goes, once, and sends it nothing more (Q5)", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, kept, waiting, go, left } = stage();
  const decision = awaitTurn(waiting, kept, []);
  t.mock.timers.tick(3_000);
  go();
  assert.equal(await decision, undefined);
  assert.equal(left(), 1);
  t.mock.timers.tick(60_000);
  assert.equal(sent.length, 2);
});

test("awaitTurn leaves a decision to its taker where the client goes behind it (Q5)", async () => {
  const { kept, waiting, decide, go, left } = stage();
  const decision = awaitTurn(waiting, kept, []);
  decide(REFUSED);
  assert.equal(await decision, REFUSED);
  go();
  assert.equal(left(), 0);
});
