import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { HttpClient } from "../../src/gateway/http-client/http-client.ts";
import { BURST_CHARS_MAX, type BurstMember, BurstWriter, WriteBurst } from "../../src/gateway/write-burst.ts";
import { send } from "../support/client-call.ts";
import { onRequests, startRawServer } from "../support/raw-server.ts";
import { until } from "../support/until.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A turn that ends when the test says so. */
class HeldBurst extends WriteBurst {
  members: BurstMember[] = [];

  override add(member: BurstMember): void {
    this.members.push(member);
  }

  end(): void {
    for (const member of this.members.splice(0)) member.flush();
  }
}

/** Both ends of a connection. */
async function pair(): Promise<{ readonly near: Socket; readonly far: Socket; received(): string }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [
    [Socket],
    unknown,
  ];
  closing.push(() => {
    near.destroy();
    far.destroy();
    server.close();
    return once(server, "close");
  });
  let text = "";
  far.on("data", (bytes) => {
    text += bytes.toString("latin1");
  });
  return { near, far, received: () => text };
}

test("WriteBurst flushes its members in order at the end of the turn, and a full burst at once", async () => {
  const burst = new WriteBurst();
  const flushed: number[] = [];
  const add = (index: number) => burst.add({ flush: () => flushed.push(index) });
  for (let i = 0; i < 3; i++) add(i);
  assert.deepEqual(flushed, []);
  await turn();
  assert.deepEqual(flushed, [0, 1, 2]);
  for (let i = 3; i < 43; i++) add(i);
  assert.equal(flushed.length, 3 + 32, "nobody waits for more than 31 others");
  await turn();
  assert.deepEqual(
    flushed,
    Array.from({ length: 43 }, (_, i) => i),
  );
});

test("WriteBurst takes members that others' flush brings, in the next burst", async () => {
  const burst = new WriteBurst();
  const flushed: string[] = [];
  burst.add({
    flush: () => {
      flushed.push("first");
      burst.add({ flush: () => flushed.push("second") });
    },
  });
  await turn();
  await turn();
  assert.deepEqual(flushed, ["first", "second"]);
});

test("BurstWriter keeps every byte in order, whether it is kept or too long to be (S1)", async () => {
  const { near, received } = await pair();
  const writer = new BurstWriter(near, new WriteBurst());
  const sizes = [1, 100, BURST_CHARS_MAX - 50, 3, BURST_CHARS_MAX, BURST_CHARS_MAX + 1, 0, 7];
  let sent = "";
  for (const [index, size] of sizes.entries()) {
    const text = Array.from({ length: size }, (_, i) => String.fromCharCode((i * 7 + index) & 0xff)).join("");
    writer.write(text);
    sent += text;
  }
  await until(() => received().length >= sent.length);
  assert.equal(received(), sent);
});

test("BurstWriter tells everybody who wants to know when what was written is out, or never will be (X6)", async () => {
  const { near } = await pair();
  const burst = new HeldBurst();
  const writer = new BurstWriter(near, burst);
  const told: string[] = [];
  const listener = (name: string) => ({ onOut: () => told.push(name) });
  writer.write("a");
  writer.tellOut(listener("first"));
  writer.write("b");
  writer.tellOut(listener("second"));
  assert.deepEqual(told, []);
  burst.end();
  await until(() => told.length === 2);
  assert.deepEqual(told, ["first", "second"]);
  writer.write("c");
  writer.tellOut(listener("dropped"));
  writer.drop();
  assert.deepEqual(told, ["first", "second", "dropped"]);
  burst.end();
  assert.equal(near.writableLength, 0);
});

test("BurstWriter says that a reader is slow as the socket would (S3)", async () => {
  const { near, far } = await pair();
  far.pause();
  const writer = new BurstWriter(near, new WriteBurst());
  const text = "x".repeat(BURST_CHARS_MAX);
  let writes = 0;
  while (writes < 10_000 && writer.write(text)) {
    writes += 1;
    await turn();
  }
  assert.ok(near.writableNeedDrain && writes < 10_000, `${writes} writes`);
  const drained = once(near, "drain");
  far.resume();
  await drained;
});

const answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";

for (const [what, harm] of [
  ["closes", (socket: Socket) => socket.end()],
  ["is reset", (socket: Socket) => socket.resetAndDestroy()],
  [
    "has something to say",
    (socket: Socket) => socket.write("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"),
  ],
] as const) {
  test(`HttpClient sends a call over another connection when its own ${what} before the turn has ended (P5)`, async () => {
    const server = await startRawServer((socket, index) =>
      onRequests(socket, () => socket.write(answer + index)),
    );
    const burst = new HeldBurst();
    const client = new HttpClient({ keepAliveMs: 60_000, connectionsMax: 100, burst });
    closing.push(
      () => client.close(),
      () => server.close(),
    );
    assert.equal((await send(client, server.origin).done).body.toString(), "0");
    const call = send(client, server.origin);
    assert.equal(burst.members.length, 1);
    harm(server.sockets[0]);
    await until(() => server.sockets.length === 2);
    await call.done;
    assert.deepEqual([call.error, call.body.toString()], [undefined, "1"]);
    burst.end();
  });
}

test("HttpClient sends nothing of a call that is aborted before the turn has ended (Q5)", async () => {
  const seen: string[] = [];
  const server = await startRawServer((socket) =>
    onRequests(socket, (head) => {
      seen.push(head);
      socket.write(`${answer}x`);
    }),
  );
  const burst = new HeldBurst();
  const client = new HttpClient({ keepAliveMs: 60_000, connectionsMax: 100, burst });
  closing.push(
    () => client.close(),
    () => server.close(),
  );
  await send(client, server.origin).done;
  const call = send(client, server.origin, { path: "/aborted" });
  call.controller?.abort();
  burst.end();
  await send(client, server.origin, { path: "/next" }).done;
  assert.equal(call.isSent, false);
  assert.deepEqual(
    seen.map((head) => head.split(" ")[1]),
    ["/", "/next"],
  );
});
