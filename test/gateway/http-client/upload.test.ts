import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { afterEach, test } from "node:test";
import fc from "fast-check";
import { HttpClient } from "../../../src/gateway/http-client/http-client.ts";
import { send } from "../../support/client-call.ts";
import { freePort } from "../../support/free-port.ts";
import { runs } from "../../support/property.ts";
import { type RawServer, startRawServer } from "../../support/raw-server.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A server that reads as node:http does. */
async function httpServer(listener: RequestListener): Promise<RawServer> {
  const http = createServer(listener);
  const started = await startRawServer(() => {}, http);
  closing.push(() => started.close());
  return started;
}

async function rawServer(onConnection: (socket: Socket) => void): Promise<RawServer> {
  const started = await startRawServer(onConnection);
  closing.push(() => started.close());
  return started;
}

function client(): HttpClient {
  const made = new HttpClient({ keepAliveMs: 60_000, connectionsMax: 10, tickMs: 5 });
  closing.unshift(() => made.close());
  return made;
}

/** Answers with what was sent, once all of it is there. */
const echo: RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const framing = request.headers["content-length"] ?? request.headers["transfer-encoding"];
    response.writeHead(200, { "x-framing": framing }).end(Buffer.concat(chunks));
  });
};

test("Upload sends any stream as it is, in chunks or with its length, one after the other (S1)", async () => {
  const { origin, sockets } = await httpServer(echo);
  const used = client();
  const chunk = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 6 }), fc.boolean(), async (chunks, isAnnounced) => {
      const whole = Buffer.concat(chunks);
      const length = isAnnounced ? whole.length : undefined;
      const body = { stream: Readable.from(chunks, { objectMode: false }), length };
      const call = await send(used, origin, { method: "POST", body }).done;
      assert.deepEqual([call.error, call.body], [undefined, whole]);
      assert.equal(
        call.headers[call.headers.indexOf("x-framing") + 1],
        isAnnounced ? String(whole.length) : "chunked",
      );
    }),
    runs(100),
  );
  assert.equal(sockets.length, 1);
});

test("Upload reads no faster than the server takes it (S3)", async () => {
  const { origin, sockets } = await rawServer((socket) => socket.pause());
  const used = client();
  const piece = Buffer.alloc(65_536, "x");
  let read = 0;
  let onRead = () => {};
  const stream = new Readable({
    read() {
      read += piece.length;
      onRead();
      this.push(piece);
    },
  });
  const call = send(used, origin, { method: "POST", body: { stream, length: undefined } });
  await new Promise<void>((resolve) => {
    onRead = resolve;
  });
  while (!stream.isPaused()) await new Promise((resolve) => setImmediate(resolve));
  // The system's buffers of two sockets, which grow to some megabytes.
  assert.ok(read < 32 * 1024 * 1024, `${read} bytes read`);
  sockets[0].destroy();
  assert.equal((await call.done).error?.code, "closed");
  assert.ok(stream.destroyed, "nobody wants the rest");
});

test("Upload fails a body that is longer or shorter than announced, and the connection with it (X3)", async () => {
  const { origin } = await httpServer(echo);
  const used = client();
  for (const length of [3, 5]) {
    const body = { stream: Readable.from([Buffer.from("body")]), length };
    const call = await send(used, origin, { method: "POST", body }).done;
    assert.equal(call.error?.code, "body_failed");
  }
});

test("Upload fails the call when its stream fails: before the connection, and in the middle", async () => {
  const { origin, sockets } = await httpServer(echo);
  const used = client();
  const reason = new Error("too large");
  const broken = new PassThrough();
  broken.on("error", () => {});
  broken.destroy(reason);
  await new Promise((resolve) => broken.once("close", resolve));
  const early = await send(used, origin, { method: "POST", body: { stream: broken, length: undefined } })
    .done;
  assert.deepEqual([early.error?.code, early.error?.cause, early.isSent], ["body_failed", reason, false]);

  const connecting = new PassThrough();
  const second = send(used, origin, { method: "POST", body: { stream: connecting, length: undefined } });
  connecting.destroy(reason);
  await second.done;
  assert.deepEqual([second.error?.code, second.error?.cause, second.isSent], ["body_failed", reason, false]);

  const stream = new PassThrough();
  const third = send(used, origin, { method: "POST", body: { stream, length: undefined } });
  stream.write("part of it");
  while (sockets.length === 0 || sockets.at(-1)?.bytesRead === 0)
    await new Promise((resolve) => setImmediate(resolve));
  stream.destroy(reason);
  await third.done;
  assert.deepEqual([third.error?.code, third.error?.cause, third.isSent], ["body_failed", reason, true]);
});

test("Upload is broken off by an answer that comes before its end; the connection is not used again", async () => {
  const { origin, sockets } = await rawServer((socket) =>
    socket.once("data", () => socket.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")),
  );
  const stream = new PassThrough();
  stream.write("the beginning");
  const call = await send(client(), origin, { method: "POST", body: { stream, length: undefined } }).done;
  assert.deepEqual([call.status, call.body.toString(), stream.destroyed], [413, "no", true]);
  if (!sockets[0].closed) await once(sockets[0], "close");
});

test("Upload lets go of its stream when the call cannot be sent, or is aborted (Q5)", async () => {
  const used = client();
  const refused = new PassThrough();
  const origin = `http://127.0.0.1:${await freePort()}`;
  await send(used, origin, { method: "POST", body: { stream: refused, length: undefined } }).done;
  assert.ok(refused.destroyed);
  const aborted = new PassThrough();
  send(used, origin, { method: "POST", body: { stream: aborted, length: undefined } }).controller?.abort();
  assert.ok(aborted.destroyed);
});

test("Upload's deadline is that of its last piece (Q4)", async () => {
  const { origin } = await rawServer((socket) => socket.resume());
  const stream = new PassThrough();
  const used = client();
  const deadlines = { answerMs: 60 };
  const call = send(used, origin, { method: "POST", body: { stream, length: undefined } }, deadlines);
  // Each of these other calls lasts for most of the deadline.
  for (let i = 0; i < 3; i++) {
    await send(used, origin, {}, { answerMs: 35 }).done;
    const early = call.error;
    assert.equal(early, undefined);
    stream.write("x");
  }
  assert.equal((await call.done).error?.code, "answer_timeout");
  assert.ok(stream.destroyed);
});
