import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { PLAIN_BODY_BYTES_MAX } from "../../src/gateway/http-server/plain-connection.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";
import { chatBody, openChat, waitingPageOf } from "../support/waiting-calls.ts";

const ROOM = `
plans:
  single: { max_wait: 10m, limits: [{ meter: concurrency, limit: 1 }] }
identity:
  keys: [{ key: key-of-sid, user: sid, plan: single }]
`;
const KEY = "key-of-sid";
const CALLS = 12;

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

function usedBytes(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Once garbage of before has gone, too: it would hide what is kept. */
async function settledBytes(): Promise<number> {
  for (let last = usedBytes(); ; ) {
    await setTimeout(50);
    const bytes = usedBytes();
    if (Math.abs(bytes - last) < 100_000) return bytes;
    last = bytes;
  }
}

describe("a call that waits", () => {
  let under: GatewayUnderTest;
  let held: ReturnType<typeof openChat>;
  const sockets: Socket[] = [];
  before(async () => {
    under = await startGatewayUnderTest({ yaml: ROOM, store: "memory:" });
    // All there is.
    held = openChat(under.url, KEY, { "x-replay-hang": "true" });
    await until(() => under.provider.stats.requests === 1);
  });
  after(async () => {
    held.destroy();
    for (const socket of sockets) socket.destroy();
    await under.close();
  });

  function send(call: Buffer): void {
    const socket = connect(Number(new URL(under.url).port), "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => {});
    socket.resume();
    socket.write(call);
  }

  const waiting = async () => (await waitingPageOf(under.url, KEY)).waiting_total;

  for (const [kind, bodyBytes] of [
    ["of a plain connection", PLAIN_BODY_BYTES_MAX - 1_000],
    ["of any other connection", PLAIN_BODY_BYTES_MAX + 1_000],
  ] as const) {
    for (const stream of [false, true]) {
      test(`keeps its body once: ${stream ? "a stream" : "no stream"} ${kind} (Q6)`, async () => {
        const missing = bodyBytes - JSON.stringify(chatBody("", { stream })).length;
        const body = JSON.stringify(chatBody("word ".repeat(missing / 5), { stream }));
        const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ncontent-length: ${body.length}\r\n\r\n`;
        const call = Buffer.from(head + body);
        const before = { waiting: await waiting(), bytes: await settledBytes() };
        for (let i = 0; i < CALLS; i++) send(call);
        await until(async () => (await waiting()) === before.waiting + CALLS);
        const each = () => (usedBytes() - before.bytes) / CALLS;
        // What is garbage goes in the background.
        await until(() => each() < 1.25 * body.length).catch(() => {});
        assert.ok(each() < 1.25 * body.length, `${each()} bytes each, for bodies of ${body.length}`);
      });
    }
  }
});
