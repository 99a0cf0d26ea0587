import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { systemClock } from "../../src/ports/clock.ts";
import type { WebhookTarget } from "../../src/webhooks/post-webhook.ts";
import { WEBHOOK_BOUNDS, type WebhookBounds, WebhookSender } from "../../src/webhooks/webhook-sender.ts";
import { freePort } from "../support/free-port.ts";
import { onRequests, startRawServer } from "../support/raw-server.ts";
import { until } from "../support/until.ts";
import { startWebhookReceiver } from "../support/webhook-receiver.ts";

const SOON: WebhookBounds = {
  ...WEBHOOK_BOUNDS,
  firstPauseMs: 2,
  pauseMsMax: 10,
  timeoutMs: 2_000,
  closeMs: 50,
};

async function stage(
  t: TestContext,
  statusOf?: (index: number) => number | undefined,
  bounds: Partial<WebhookBounds> = {},
) {
  const receiver = await startWebhookReceiver(statusOf);
  const sender = new WebhookSender(systemClock, { ...SOON, ...bounds });
  t.after(async () => {
    await sender.close();
    await receiver.close();
  });
  const target = (part: Partial<WebhookTarget> = {}): WebhookTarget => ({
    url: receiver.url,
    secret: receiver.secret,
    isAllowed: () => true,
    ...part,
  });
  const send = (id = "msg_1", part: Partial<WebhookTarget> = {}) =>
    sender.send({ id, body: `{"id":"${id}"}` }, () => target(part));
  return { receiver, sender, send, target };
}

describe("WebhookSender", () => {
  test("signs what it sends, so that the library of Standard Webhooks verifies it, and nothing that was changed (E8)", async (t) => {
    const { receiver, send } = await stage(t);
    assert.deepEqual(await send(), { kind: "delivered" });
    assert.deepEqual(receiver.verified(), [{ id: "msg_1" }]);
    const [{ headers }] = receiver.received;
    assert.equal(headers["webhook-id"], "msg_1");
    assert.equal(headers["content-type"], "application/json");
    assert.doesNotMatch(JSON.stringify(headers), /whsec_|secret/);
    await send("msg_2", { secret: Buffer.from("another secret of enough bytes").toString("base64") });
    assert.throws(() => receiver.verified(), /No matching signature/);
  });

  test("tries again until the message is taken, under the same id, signed anew", async (t) => {
    const { receiver, send } = await stage(t, (index) => [500, 302, 429, 200][index]);
    assert.deepEqual(await send(), { kind: "delivered" });
    assert.equal(receiver.received.length, 4);
    assert.deepEqual(
      new Set(receiver.received.map(({ headers }) => headers["webhook-id"])),
      new Set(["msg_1"]),
    );
    // A redirect may lead where nothing may go.
    assert.equal(receiver.verified().length, 4);
  });

  test("gives up at the deadline, and at once where the receiver is gone", async (t) => {
    const { receiver, send } = await stage(t, (index) => (index < 1 ? 410 : 503), { deadlineMs: 60 });
    assert.deepEqual(await send("a"), { kind: "failed", reason: "gone", why: "status 410" });
    assert.equal(receiver.received.length, 1);
    assert.deepEqual(await send("b"), { kind: "failed", reason: "deadline", why: "status 503" });
    assert.ok(receiver.received.length > 2);
  });

  test("ends a try that gets no answer, and one that gets no connection", async (t) => {
    const { send } = await stage(t, () => undefined, { timeoutMs: 20, deadlineMs: 30 });
    const hanging = await send();
    assert.ok(hanging.kind === "failed" && hanging.reason === "deadline", JSON.stringify(hanging));
    const refused = await send("b", { url: `http://127.0.0.1:${await freePort()}/` });
    assert.deepEqual(refused, { kind: "failed", reason: "deadline", why: "ECONNREFUSED" });
  });

  test("takes 101 for a failure, like any other answer that is none", async (t) => {
    const server = await startRawServer((socket) =>
      onRequests(socket, () =>
        socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
      ),
    );
    t.after(() => server.close());
    const { send } = await stage(t, undefined, { deadlineMs: 60 });
    assert.deepEqual(await send("a", { url: server.origin }), {
      kind: "failed",
      reason: "deadline",
      why: "status 101",
    });
    assert.ok(server.sockets.length > 1);
  });

  test("goes to allowed addresses only, also where a name leads to another, and does not connect before it knows (X7)", async (t) => {
    const { receiver, send } = await stage(t);
    const port = new URL(receiver.url).port;
    const isAllowed = (address: string) => address === "192.0.2.1";
    for (const host of ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]) {
      const outcome = await send("msg", { url: `http://${host}:${port}/`, isAllowed });
      const what = `${host}: ${JSON.stringify(outcome)}`;
      assert.ok(outcome.kind === "failed" && outcome.reason === "forbidden", what);
    }
    assert.equal(receiver.received.length, 0);
    const byName = {
      url: `http://localhost:${port}/`,
      isAllowed: (address: string) => address === "127.0.0.1",
    };
    assert.deepEqual(await send("msg", byName), { kind: "delivered" });
  });

  test("keeps a bounded number of messages, and sends some at a time", async (t) => {
    let open = 0;
    const { receiver, send } = await stage(t, () => undefined, { messagesMax: 5, underWayMax: 2 });
    const sent = Array.from({ length: 7 }, (_, i) => send(`m${i}`));
    const refused = await Promise.all(sent.slice(5));
    for (const outcome of refused) {
      assert.deepEqual(outcome, { kind: "failed", reason: "queue_full", why: "5 are waiting" });
    }
    await until(() => receiver.received.length === 2);
    for (const one of sent) void one.then(() => open++);
    assert.equal(receiver.received.length, 2);
  });

  test("sends each message to its own target, also those that had to wait for another one", async (t) => {
    const { send } = await stage(t, undefined, { underWayMax: 1 });
    const [first, second] = await Promise.all([send("a"), send("b", { isAllowed: () => false })]);
    assert.equal(first.kind, "delivered");
    assert.ok(second.kind === "failed" && second.reason === "forbidden", JSON.stringify(second));
  });

  test("takes up what comes in the moment in which the last one is done", async (t) => {
    const { send } = await stage(t, undefined, { underWayMax: 1 });
    assert.deepEqual(await send("a"), { kind: "delivered" });
    assert.deepEqual(await send("b"), { kind: "delivered" });
  });

  test("asks for its target before every try, so that a changed configuration counts at once", async (t) => {
    const { receiver, sender, target } = await stage(t, () => 500);
    let isWanted = true;
    const sent = sender.send({ id: "m", body: "{}" }, () => (isWanted ? target() : undefined));
    await until(() => receiver.received.length > 1);
    isWanted = false;
    assert.deepEqual(await sent, { kind: "failed", reason: "gone", why: "no webhook is configured" });
  });

  test("ends in time when it is closed, and says what it has not done", async (t) => {
    const { receiver, sender, send } = await stage(t, (index) => (index === 0 ? undefined : 500), {
      underWayMax: 2,
      firstPauseMs: 60_000,
      pauseMsMax: 60_000,
      timeoutMs: 60_000,
    });
    const sent = [send("hangs"), send("pauses"), send("waits")];
    await until(() => receiver.received.length === 2);
    await sender.close();
    assert.deepEqual(await Promise.all(sent), Array(3).fill({ kind: "unfinished" }));
    assert.deepEqual(await send("late"), { kind: "unfinished" });
  });
});
