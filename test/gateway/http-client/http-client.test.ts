import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { afterEach, test } from "node:test";
import { HttpClient, type HttpClientOptions } from "../../../src/gateway/http-client/http-client.ts";
import { ClientCall, send } from "../../support/client-call.ts";
import { freePort } from "../../support/free-port.ts";
import { onRequests, type RawServer, startRawServer } from "../../support/raw-server.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function server(onConnection: (socket: Socket, index: number) => void): Promise<RawServer> {
  const started = await startRawServer(onConnection);
  closing.push(() => started.close());
  return started;
}

function client(options: Partial<HttpClientOptions> = {}): HttpClient {
  const made = new HttpClient({ keepAliveMs: 60_000, connectionsMax: 100, tickMs: 5, ...options });
  closing.unshift(() => made.close());
  return made;
}

const answer = (body: string, ...fields: readonly string[]) =>
  ["HTTP/1.1 200 OK", `content-length: ${body.length}`, ...fields, "", body].join("\r\n");

const readable = (...chunks: readonly string[]) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)));

/** Answers every request with the number of its connection. */
const numbered = () =>
  server((socket, index) => onRequests(socket, () => socket.write(answer(String(index)))));

test("HttpClient sends a request as it is and tells its answer as it is (S1)", async () => {
  const seen: string[] = [];
  const { origin, port } = await server((socket) =>
    onRequests(socket, (head, body) => {
      seen.push(`${head}\r\n\r\n${body}`);
      socket.write(
        "HTTP/1.1 418 I'm a Teapot\r\nX-Odd:  \xe9 \r\ncontent-length: 3\r\n\r\n\x00\xff\x80",
        "latin1",
      );
    }),
  );
  const body = Buffer.from([0, 255, 13, 10, 128]);
  const headers = ["x-a", "caf\xe9", "x-empty", "", "x-a", "again"];
  const call = await send(client(), origin, { method: "POST", path: "/a?b=%20", headers, body }).done;
  assert.deepEqual(seen, [
    `POST /a?b=%20 HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nx-a: caf\xe9\r\nx-empty: \r\nx-a: again\r\ncontent-length: 5\r\n\r\n\x00\xff\r\n\x80`,
  ]);
  assert.equal(call.error, undefined);
  assert.deepEqual([call.status, call.headers], [418, ["X-Odd", "\xe9", "content-length", "3"]]);
  assert.deepEqual(call.body, Buffer.from([0, 255, 128]));
});

test("HttpClient sends bodies of any size byte for byte (S1)", async () => {
  for (const length of [0, 1, 16_384, 16_385, 1_000_000]) {
    const body = Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    const { origin } = await server((socket) =>
      onRequests(socket, (_head, text) =>
        socket.write(answer(String(Buffer.from(text, "latin1").equals(body)))),
      ),
    );
    assert.equal((await send(client(), origin, { method: "POST", body }).done).body.toString(), "true");
  }
});

test("HttpClient says that a POST has no body, and nothing of the kind for a GET (X3)", async () => {
  const { origin } = await server((socket) => onRequests(socket, (head) => socket.write(answer(head))));
  const used = client();
  assert.match((await send(used, origin, { method: "POST" }).done).body.toString(), /\r\ncontent-length: 0$/);
  assert.doesNotMatch((await send(used, origin).done).body.toString(), /content-length|transfer-encoding/);
});

test("HttpClient refuses what would break the request's framing, and sends nothing (X3)", async () => {
  const { origin, sockets } = await numbered();
  const used = client();
  const requests = [
    ...["/a b", "/a\tb", "/a\r\nx: y", "/\x00", "a", "", "/\u010a", "http://x/"].map((path) => ({ path })),
    ...["GET /", "G\r\n", "", "CONNECT", "get", "G\u0145T"].map((method) => ({ method })),
    ...["a\r\nb", "a\nb", "a\rb", "\x00", "\x7f", "\u010a", "\u{1f99c}"].map((value) => ({
      headers: ["x-a", value],
    })),
    ...["a b", "a:", "", "X-A", "x\r\n", "\xe9"].map((name) => ({ headers: [name, "x"] })),
    ...["host", "content-length", "transfer-encoding", "connection", "upgrade"].map((name) => ({
      headers: [name, "1"],
    })),
    { headers: ["x-a"] },
  ];
  for (const request of requests) {
    const call = send(used, origin, request);
    const early = call.error;
    assert.equal(early, undefined, "never before send has returned");
    await call.done;
    assert.deepEqual([call.error?.code, call.isSent], ["invalid_request", false], JSON.stringify(request));
  }
  assert.equal(sockets.length, 0);
});

test("HttpClient uses the connection again that was used last (LIFO)", async () => {
  const { origin, sockets } = await numbered();
  const used = client();
  const together = [send(used, origin), send(used, origin), send(used, origin)];
  await Promise.all(together.map((call) => call.done));
  assert.equal(sockets.length, 3);
  const [first, second] = [(await send(used, origin).done).body, (await send(used, origin).done).body];
  assert.deepEqual(first, second);
  assert.equal(sockets.length, 3);
});

test("HttpClient does not use a connection again after connection: close, HTTP/1.0, or a short keep-alive", async () => {
  const answers = [
    answer("a", "connection: close"),
    "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
    answer("a", "keep-alive: timeout=1"),
  ];
  for (const text of answers) {
    const { origin, sockets } = await server((socket) => onRequests(socket, () => socket.write(text)));
    const used = client();
    for (const count of [1, 2]) {
      assert.equal((await send(used, origin).done).body.toString(), "a");
      assert.equal(sockets.length, count, text);
    }
  }
});

test("HttpClient closes connections that were idle for keepAliveMs (L10)", async () => {
  const { origin, sockets } = await numbered();
  const used = client({ keepAliveMs: 20 });
  await send(used, origin).done;
  await once(sockets[0], "close");
  assert.equal((await send(used, origin).done).body.toString(), "1");
});

test("HttpClient takes a new connection when the kept one was closed meanwhile", async () => {
  const { origin, sockets } = await numbered();
  const used = client();
  await send(used, origin).done;
  sockets[0].end();
  await once(sockets[0], "close");
  const call = await send(used, origin).done;
  assert.deepEqual([call.error, call.body.toString()], [undefined, "1"]);
});

test("HttpClient sends a call again, once, when the system took no byte of it: bodies and streams alike", async () => {
  const { origin, sockets } = await server((socket, index) =>
    onRequests(socket, (_, body) => socket.write(answer(`${index}${body}`))),
  );
  const used = client();
  for (const make of [
    () => Buffer.from("body"),
    () => Buffer.alloc(100_000, "x"),
    () => ({ stream: readable("body"), length: 4 }),
  ]) {
    await send(used, origin).done;
    // The reset is in the system, but this process has not looked: writing is the first to notice.
    sockets.at(-1)?.resetAndDestroy();
    const body = make();
    const call = await send(used, origin, { method: "POST", body }).done;
    assert.equal(call.error, undefined);
    const text = Buffer.isBuffer(body) ? body.toString() : "body";
    assert.equal(call.body.toString(), `${sockets.length - 1}${text}`);
  }
  assert.equal(sockets.length, 4);
});

test("HttpClient does not send a call again that the server may have seen", async () => {
  let requests = 0;
  const { origin } = await server((socket) =>
    onRequests(socket, () => {
      requests += 1;
      if (requests === 1) socket.write(answer("ok"));
      else socket.end();
    }),
  );
  const used = client();
  await send(used, origin).done;
  const call = await send(used, origin).done;
  assert.deepEqual([call.error?.code, call.isSent, requests], ["closed", true, 2]);
});

test("HttpClient gives bytes after the end of an answer to nobody (X3)", async () => {
  const stray = answer("stray");
  const { origin, sockets } = await server((socket, index) =>
    onRequests(socket, () => socket.write(answer(String(index)) + (index === 0 ? stray : ""))),
  );
  const used = client();
  for (const body of ["0", "1", "1"]) assert.equal((await send(used, origin).done).body.toString(), body);
  // And unasked ones close an idle connection.
  sockets[1].write(stray);
  await once(sockets[1], "close");
  assert.equal((await send(used, origin).done).body.toString(), "2");
});

test("HttpClient closes the connection of an answer that is not HTTP (X3)", async () => {
  const { origin, sockets } = await server((socket) =>
    onRequests(socket, () => socket.write("HTTP/1.1 200 OK\n\n")),
  );
  const call = await send(client(), origin).done;
  assert.deepEqual([call.error?.code, call.isSent], ["not_http", true]);
  if (!sockets[0].closed) await once(sockets[0], "close");
});

test("HttpClient tells a cut answer from one that lasts until the server closes (S2)", async () => {
  const heads = ["content-length: 9\r\n", "transfer-encoding: chunked\r\n", ""];
  const codes: (string | undefined)[] = [];
  for (const head of heads) {
    const { origin } = await server((socket) =>
      onRequests(socket, () => socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n4\r\nab`)),
    );
    codes.push((await send(client(), origin).done).error?.code);
  }
  assert.deepEqual(codes, ["closed", "closed", undefined]);
});

test("HttpClient keeps to connectionsMax; calls beyond it go in the order of their arrival (Q1)", async () => {
  const waiting: [Socket, string][] = [];
  let onWaiting = () => {};
  const { origin, sockets } = await server((socket) =>
    onRequests(socket, (head) => {
      waiting.push([socket, head.split(" ")[1]]);
      onWaiting();
    }),
  );
  const used = client({ connectionsMax: 2 });
  const calls = Array.from({ length: 9 }, (_, i) => send(used, origin, { path: `/${i}` }));
  // Gone while waiting: its turn is the next one's.
  calls[4].controller?.abort();
  const served: string[] = [];
  while (served.length < 8) {
    if (waiting.length === 0) await new Promise<void>((resolve) => (onWaiting = resolve));
    const [socket, path] = waiting.shift()!;
    served.push(path);
    // One connection ends with its answer, which makes place for a new one.
    socket.write(answer(path, ...(path === "/6" ? ["connection: close"] : [])));
    await calls[Number(path.slice(1))].done;
  }
  assert.deepEqual(served, ["/0", "/1", "/2", "/3", "/5", "/6", "/7", "/8"]);
  assert.equal(sockets.length, 3);
});

test("HttpClient fails a call that got no connection in time, unsent (Q4)", async () => {
  const { origin } = await server(() => {});
  const used = client({ connectionsMax: 1 });
  send(used, origin);
  const call = await send(used, origin, {}, { answerMs: 20 }).done;
  assert.deepEqual([call.error?.code, call.isSent], ["queue_timeout", false]);
});

test("HttpClient tells what kept it from connecting, and that nothing was sent", async () => {
  const used = client();
  const refused = await send(used, `http://127.0.0.1:${await freePort()}`).done;
  assert.deepEqual([refused.error?.code, refused.isSent], ["refused", false]);
  const unnamed = await send(used, "http://name.invalid").done;
  assert.deepEqual([unnamed.error?.code, unnamed.isSent], ["name_not_resolved", false]);
});

test("HttpClient fails calls whose answer does not begin or does not go on in time, and closes their connections (Q4)", async () => {
  const { origin, sockets } = await server((socket) =>
    onRequests(socket, (head) => {
      if (head.startsWith("GET /begun ")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx");
      if (head.startsWith("GET /interim ")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }),
  );
  const used = client();
  for (const path of ["/", "/interim"]) {
    const silent = await send(used, origin, { path }, { answerMs: 20 }).done;
    assert.deepEqual([silent.error?.code, silent.isSent], ["answer_timeout", true]);
  }
  const begun = await send(used, origin, { path: "/begun" }, { idleMs: 20 }).done;
  assert.deepEqual([begun.error?.code, begun.body.toString()], ["idle_timeout", "x"]);
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, "close")));
});

test("HttpClient does not count the time against the server in which the call is paused (S3)", async () => {
  const { origin } = await server((socket) =>
    onRequests(socket, (head) => {
      if (head.startsWith("GET /slow ")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
    }),
  );
  const used = client();
  const paused = new ClientCall();
  paused.onChunk = () => paused.controller?.pause();
  send(used, origin, { path: "/slow" }, { idleMs: 20 }, paused);
  await paused.headed;
  // Another call with the same patience is given up; this one is not.
  await send(used, origin, {}, { answerMs: 100 }).done;
  assert.equal(paused.error, undefined);
  paused.controller?.resume();
  assert.equal((await paused.done).error?.code, "idle_timeout");
});

test("HttpClient makes the server wait for a slow reader; memory stays bounded (S3)", async () => {
  const total = 64 * 1024 * 1024;
  let written = 0;
  const piece = Buffer.alloc(65_536, "x");
  const { origin, sockets } = await server((socket) =>
    onRequests(socket, () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      const more = () => {
        while (written < total) {
          written += piece.length;
          if (!socket.write(piece)) return;
        }
      };
      socket.on("drain", more);
      more();
    }),
  );
  const call = new ClientCall();
  let read = 0;
  let onPaused = () => {};
  call.onChunk = (chunk) => {
    read += chunk.length;
    call.chunks.length = 0;
    call.controller?.pause();
    onPaused();
  };
  const used = client();
  send(used, origin, {}, {}, call);
  for (let i = 0; i < 20; i++) {
    await new Promise<void>((resolve) => {
      onPaused = resolve;
      call.controller?.resume();
    });
  }
  assert.ok(read <= 21 * 65_536, `${read} bytes in 20 reads`);
  // What the server got rid of is in the buffers of the two sockets, which the system bounds.
  const before = read;
  const silent = await server(() => {});
  await send(used, silent.origin, {}, { answerMs: 50 }).done;
  assert.equal(read, before, "paused is paused");
  assert.ok(sockets[0].writableLength > 0 && written < total, `${written} bytes written`);
  call.onChunk = (chunk) => {
    read += chunk.length;
    call.chunks.length = 0;
  };
  call.controller?.resume();
  await call.done;
  assert.equal(read, total);
});

test("HttpClient reads an idle connection although its last call was paused to the end (S3)", async () => {
  const { origin, sockets } = await numbered();
  const used = client();
  const call = new ClientCall();
  call.onChunk = () => call.controller?.pause();
  await send(used, origin, {}, {}, call).done;
  assert.equal((await send(used, origin).done).body.toString(), "0");
  sockets[0].end();
  await once(sockets[0], "close");
  assert.equal((await send(used, origin).done).body.toString(), "1");
});

test("HttpClient ends an aborted call without another word, and its connection (Q5)", async () => {
  const { origin, sockets } = await server((socket) =>
    onRequests(socket, () =>
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
    ),
  );
  const used = client();
  const call = new ClientCall();
  call.onChunk = () => call.controller?.abort();
  send(used, origin, {}, {}, call);
  await call.headed;
  if (!sockets[0].closed) await once(sockets[0], "close");
  assert.deepEqual([call.body.toString(), call.error], ["a", undefined]);
  const early = send(used, origin);
  early.controller?.abort();
  assert.equal((await send(used, origin).headed).status, 200);
  assert.deepEqual([early.isSent, early.error], [false, undefined]);
});

test("HttpClient keeps what a handler throws from everything else (X3)", async () => {
  const { origin } = await numbered();
  const used = client();
  for (const method of ["onHead", "onData", "onEnd"] as const) {
    const call = new ClientCall();
    call[method] = () => {
      throw new Error("a bug");
    };
    await send(used, origin, {}, {}, call).done;
    assert.deepEqual([call.error?.code, String(call.error?.cause)], ["handler_failed", "Error: a bug"]);
  }
  assert.equal((await send(used, origin).done).error, undefined);
});

test("HttpClient.close ends idle connections, calls on their way and calls in line (X6)", async () => {
  const { origin, sockets } = await server((socket, index) =>
    onRequests(socket, () => {
      if (index === 0) socket.write(answer("ok"));
    }),
  );
  const used = client({ connectionsMax: 2 });
  await send(used, origin).done;
  const calls = [send(used, origin), send(used, origin), send(used, origin)];
  await calls[0].done;
  while (sockets.length < 2) await new Promise((resolve) => setImmediate(resolve));
  used.close();
  await Promise.all(calls.slice(1).map((call) => call.done));
  assert.deepEqual(
    calls.map((call) => call.error?.code),
    [undefined, "client_closed", "client_closed"],
  );
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, "close")));
  assert.equal((await send(used, origin).done).error?.code, "client_closed");
});
