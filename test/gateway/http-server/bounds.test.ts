import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { HttpServer, type HttpServerBounds } from "../../../src/gateway/http-server/http-server.ts";

const BOUNDS: HttpServerBounds = {
  headerBytesMax: 16_384,
  connectionsMax: 100,
  requestTimeoutMs: 200,
  stalledMsMax: 60_000,
};

/** A server that takes requests and never answers. */
async function silentServer(t: TestContext, bounds: Partial<HttpServerBounds>) {
  const arrivals: (() => void)[] = [];
  const server = new HttpServer({ ...BOUNDS, ...bounds }, () => arrivals.shift()?.());
  const { port } = await server.listen("127.0.0.1", 0);
  t.after(async () => {
    const drained = server.drain();
    server.destroy();
    await drained;
  });
  const open = (): Socket => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => {});
    t.after(() => socket.destroy());
    return socket;
  };
  const ask = async (request: string): Promise<Socket> => {
    const arrived = new Promise<void>((resolve) => arrivals.push(resolve));
    const socket = open();
    socket.write(request);
    await arrived;
    return socket;
  };
  return { server, open, ask };
}

/** What is waited for happens at once, or never. */
const soon = () => ({ signal: AbortSignal.timeout(3_000) });

const PLAIN = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
/** More than the plain parser takes. */
const UNUSUAL = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";

for (const [by, request] of [
  ["the plain parser", PLAIN],
  ["node:http", UNUSUAL],
] as const) {
  test(`HttpServer keeps to connectionsMax, whatever their requests are read by: ${by} (X3)`, async (t) => {
    const { open, ask } = await silentServer(t, { connectionsMax: 3 });
    await ask(request);
    await ask(request);
    await ask(request);
    const tooMany = open();
    let received = "";
    tooMany.on("data", (bytes) => {
      received += bytes;
    });
    tooMany.write(request);
    await once(tooMany, "close", soon());
    assert.equal(received, "");
  });

  test(`HttpServer cuts a client that neither reads nor sends for stalledMsMax, read by ${by} (X3, S3)`, async (t) => {
    const stalledMsMax = 150;
    const { server, ask } = await silentServer(t, {});
    // As after a reload.
    server.useStalledMsMax(stalledMsMax);
    const started = performance.now();
    const socket = await ask(request);
    await once(socket, "close", soon());
    const tookMs = performance.now() - started;
    assert.ok(tookMs >= stalledMsMax - 5 && tookMs < 3_000, `after ${tookMs} ms`);
  });
}

test("HttpServer cuts a client that does not read for stalledMsMax, however much queues up behind it (X3, S3)", async (t) => {
  const stalledMsMax = 300;
  let writer: NodeJS.Timeout | undefined;
  const cut = Promise.withResolvers<void>();
  const server = new HttpServer({ ...BOUNDS, stalledMsMax }, (_, response) => {
    response.listen({ onDrain: () => {}, onGone: () => cut.resolve() });
    response.writeHead(200, []);
    const piece = Buffer.alloc(4_096, "x");
    // Nobody waits for room here, as an exchange would.
    writer = setInterval(() => {
      for (let i = 0; i < 64; i++) response.write(piece);
    }, 10);
  });
  const { port } = await server.listen("127.0.0.1", 0);
  t.after(async () => {
    clearInterval(writer);
    const drained = server.drain();
    server.destroy();
    await drained;
  });
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("error", () => {});
  t.after(() => socket.destroy());
  socket.pause();
  socket.write(PLAIN);
  const late = new Promise<never>((_, reject) => setTimeout(reject, 3_000, new Error("not cut")).unref());
  await Promise.race([cut.promise, late]);
});
