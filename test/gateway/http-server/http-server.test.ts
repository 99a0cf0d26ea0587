import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, Server as NetServer, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import type { ClientRequest, ClientResponse } from "../../../src/gateway/http-server/client-call.ts";
import { HttpServer } from "../../../src/gateway/http-server/http-server.ts";
import { NodeRequest, NodeResponse } from "../../../src/gateway/http-server/node-call.ts";
import { statusesOf } from "../../support/http-client.ts";
import { runs } from "../../support/property.ts";
import { until } from "../../support/until.ts";

const REQUEST_TIMEOUT_MS = 300;
const BOUNDS = {
  headerBytesMax: 16_384,
  connectionsMax: 1_000,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  stalledMsMax: 20_000,
};

type Handler = (request: ClientRequest, response: ClientResponse) => void;

/** What the servers under test do with the next requests. */
let handler: Handler;
/** Requests as the handler has seen them whole. */
let seen: unknown[] = [];

/** Answers with the length of the body, in one piece or in several. */
const answering: Handler = async (request, response) => {
  const { method, url, headers, remoteAddress } = request;
  try {
    const body = await request.readBody(2_000_000);
    seen.push([method, url, headers.raw, body.toString("latin1"), remoteAddress]);
    if (url.startsWith("/chunks")) {
      response.writeHead(200, ["content-type", "text/plain"]);
      response.flushHead();
      response.write(Buffer.from("seen "));
      response.end(Buffer.from(String(body.length)));
      return;
    }
    const answer = Buffer.from(`seen ${body.length}`);
    response.writeHead(200, ["content-length", String(answer.length)]);
    response.end(answer);
  } catch (error) {
    if (!response.isGone && !response.hasHead) response.destroy();
    else if (!response.isGone) throw error;
  }
};

/** Longer than both servers wait for the rest of a request. */
const PATIENCE_MS = 5 * REQUEST_TIMEOUT_MS;

/** Sends the pieces one after the other, and listens until the server closes, or waits for more than there is. */
function converse(port: number, pieces: readonly Buffer[]): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true });
    const timer = setTimeout(() => finish(), PATIENCE_MS);
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(received);
    };
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
    });
    socket.on("end", finish);
    socket.on("error", finish);
    socket.on("close", finish);
    const next = (index: number) => {
      if (index >= pieces.length || socket.destroyed) return;
      socket.write(pieces[index], () => setImmediate(() => next(index + 1)));
    };
    next(0);
  });
}

/** Answers without what differs: dates, and how the connection's end is announced. */
const gist = (received: string) =>
  received
    .replace(/^transfer-encoding/gim, "transfer-encoding")
    .replace(/^(?:date|connection|keep-alive): .*\r\n/gim, "")
    .replace(/HTTP\/1\.1 [45][\s\S]*/, (failure) => failure.slice(0, 12));

describe("HttpServer", () => {
  let server: HttpServer;
  let port: number;
  let reference: Server;
  let referencePort: number;
  before(async () => {
    server = new HttpServer(BOUNDS, (request, response) => handler(request, response));
    ({ port } = await server.listen("127.0.0.1", 0));
    reference = createServer(
      {
        maxHeaderSize: BOUNDS.headerBytesMax,
        requestTimeout: REQUEST_TIMEOUT_MS,
        headersTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
      },
      (request, response) => handler(new NodeRequest(request, response), new NodeResponse(response)),
    );
    await new Promise<void>((resolve) => reference.listen(0, "127.0.0.1", resolve));
    referencePort = (reference.address() as AddressInfo).port;
  });
  after(async () => {
    const closed = server.drain();
    server.destroy();
    await closed;
    reference.closeAllConnections();
    await new Promise((resolve) => reference.close(resolve));
  });

  const LAST = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
  const body = fc.string({ unit: "binary-ascii", maxLength: 40 });
  const plain = fc
    .record({ path: fc.constantFrom("/one", "/chunks", "/a?b=c"), body })
    .map(
      (request) =>
        `POST ${request.path} HTTP/1.1\r\nHost: x\r\nX-A: b\r\nContent-Length: ${request.body.length}\r\n\r\n${request.body}`,
    );
  const get = fc.constantFrom("/one", "/chunks").map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  const chunked = body.map(
    (text) =>
      `POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${text === "" ? "" : `${text.length.toString(16)}\r\n${text}\r\n`}0\r\n\r\n`,
  );
  const requests = fc
    .array(
      fc.oneof(
        { arbitrary: plain, weight: 5 },
        { arbitrary: get, weight: 2 },
        { arbitrary: chunked, weight: 1 },
      ),
      { minLength: 1, maxLength: 4 },
    )
    .map((all) => all.join(""));
  const spoilt = fc
    .tuple(
      requests,
      fc.option(
        fc.tuple(fc.nat(), fc.constantFrom("", " ", "\r", "\n", "\0", ":", "a", "1", "\t", "\xe4", ",")),
      ),
    )
    .map(([text, damage]) => {
      if (damage === null) return text + LAST;
      const at = damage[0] % text.length;
      return text.slice(0, at) + damage[1] + text.slice(at + 1) + LAST;
    });
  const cut = fc.tuple(spoilt, fc.array(fc.nat(), { maxLength: 5 })).map(([text, places]) => {
    const at = [0, ...places.map((place) => place % text.length).sort((a, b) => a - b), text.length];
    return at.slice(1).map((end, index) => Buffer.from(text.slice(at[index], end), "latin1"));
  });

  test("sees the same requests and gives the same answers as node:http, whatever the bytes and wherever they are cut (X3)", async () => {
    handler = answering;
    await fc.assert(
      fc.asyncProperty(cut, async (pieces) => {
        seen = [];
        const expected = gist(await converse(referencePort, pieces));
        const expectedSeen = seen;
        seen = [];
        const received = gist(await converse(port, pieces));
        if (!/HTTP\/1\.1 4/.test(expected)) {
          assert.deepEqual(seen, expectedSeen);
          assert.equal(received, expected);
          return;
        }
        // node:http reads ahead: after a broken request it drops answers under way, and may see requests that nobody will ever hear of.
        const [fewer, more] = [seen, expectedSeen]
          .map((requests) => requests.map((request) => JSON.stringify(request)))
          .sort((one, other) => one.length - other.length);
        for (const request of fewer) assert.ok(more.includes(request), `${request} is not in ${more}`);
      }),
      runs(150),
    );
  });

  const call = (path: string, text: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${text.length}\r\n\r\n${text}`;
  const open = (bytes: string): { socket: Socket; received: () => string } => {
    let received = "";
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.write(bytes, "latin1");
    return { socket, received: () => received };
  };

  test("hands a connection over in the middle of its requests, with all that has been read", async () => {
    handler = answering;
    seen = [];
    const large = "x".repeat(1_100_000);
    const all = `${call("/one", "ab")}${call("/large", large)}${call("/three", "c")}${LAST}`;
    const received = await converse(port, [Buffer.from(all)]);
    assert.deepEqual(statusesOf(received), [200, 200, 200, 200]);
    assert.deepEqual(received.match(/seen \d+/g), ["seen 2", "seen 1100000", "seen 1", "seen 0"]);
  });

  test("answers a request whose body does not come in time with 408, and tells who waits for it (X3)", async () => {
    let failure: unknown;
    handler = async (request) => {
      failure = await Promise.resolve(request.readBody(100)).catch((error: unknown) => error);
    };
    const { socket, received } = open("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab");
    await until(() => socket.closed);
    assert.deepEqual(statusesOf(received()), [408]);
    assert.match(String(failure), /broken off/);
  });

  test("closes a connection on which nothing is ever sent (X3)", async () => {
    const { socket } = open("");
    await until(() => socket.closed);
  });

  test("tells the answer's maker when the client goes, and that the answer has left when nobody is there (S2)", async () => {
    let gone = 0;
    let left = 0;
    handler = (_request, response) => {
      response.listen({ onDrain: () => {}, onGone: () => gone++ });
      response.onLeft(() => left++);
    };
    const { socket } = open(call("/", "a"));
    setImmediate(() => socket.destroy());
    await until(() => gone + left === 2);
    assert.deepEqual([gone, left], [1, 1]);
  });

  test("lets a slow reader stop the writer, and go on when it has read (S3)", async () => {
    const piece = Buffer.alloc(65_536, "x");
    let written = 0;
    let isBlocked = false;
    let isEnded = false;
    let left = 0;
    handler = (_request, response) => {
      const fill = () => {
        isBlocked = false;
        while (written < 100) {
          written += 1;
          if (!response.write(piece)) {
            isBlocked = true;
            return;
          }
        }
        if (isEnded) return;
        isEnded = true;
        response.end();
      };
      response.listen({ onDrain: fill, onGone: () => {} });
      response.onLeft(() => left++);
      response.writeHead(200, ["content-type", "text/plain"]);
      fill();
    };
    const { socket, received } = open(call("/", "a"));
    socket.pause();
    await until(() => isBlocked);
    assert.ok(written < 100, "all was written although nobody read");
    assert.equal(left, 0);
    socket.resume();
    await until(() => received().endsWith("0\r\n\r\n"));
    const body = received().slice(received().indexOf("\r\n\r\n") + 4);
    assert.equal(body.replace(/[^x]/g, "").length, 100 * piece.length);
    await until(() => left === 1);
    socket.destroy();
  });

  test("lets others have their turn between pipelined requests, however fast they are answered (X3)", async () => {
    const answered: string[] = [];
    handler = (request, response) => {
      answered.push(request.url);
      response.writeHead(200, ["content-length", "0"]);
      response.end();
    };
    const many = connect({ host: "127.0.0.1", port });
    const one = connect({ host: "127.0.0.1", port });
    await Promise.all([once(many, "connect"), once(one, "connect")]);
    many.on("data", () => {});
    one.on("data", () => {});
    many.write("GET /many HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000));
    await until(() => answered.length > 0);
    one.write("GET /one HTTP/1.1\r\nhost: x\r\n\r\n");
    await until(() => answered.length === 1_001);
    assert.ok(answered.indexOf("/one") < 1_000, `in place ${answered.indexOf("/one")}`);
    many.destroy();
    one.destroy();
    handler = answering;
  });

  for (const how of ["all at once", "one by one"] as const) {
    test(`answers no more requests, sent ${how}, of a client that does not read its answers (S3)`, async () => {
      const requests = 600;
      let answered = 0;
      const body = Buffer.alloc(100_000, "x");
      handler = (_, response) => {
        answered += 1;
        response.writeHead(200, ["content-length", String(body.length)]);
        response.end(body);
      };
      const socket = connect({ host: "127.0.0.1", port, noDelay: true });
      await once(socket, "connect");
      socket.pause();
      const get = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
      if (how === "all at once") socket.write(get.repeat(requests));
      for (let i = 0; i < requests; i++) {
        if (how === "one by one") socket.write(get);
        await turn();
      }
      let before = -1;
      while (answered !== before) {
        before = answered;
        for (let i = 0; i < 50; i++) await turn();
      }
      // What the system's own buffers take, and one more.
      assert.ok(answered < 200, `${answered} answers of 100 kB`);
      let received = 0;
      socket.on("data", (bytes) => {
        received += bytes.length;
      });
      socket.resume();
      await until(() => answered === requests && received > requests * body.length);
      socket.destroy();
      handler = answering;
    });
  }

  test("refuses to write a header that would be two (X3)", async () => {
    let failure: unknown;
    handler = (_request, response) => {
      try {
        response.writeHead(200, ["x-a", "b\r\nc: d"]);
      } catch (error) {
        failure = error;
      }
      response.destroy();
    };
    const { socket } = open(call("/", "a"));
    await until(() => socket.closed);
    assert.match(String(failure), /cannot be sent/);
  });

  test("goes on when the system would not give it a connection (X3)", async (t) => {
    const { prototype } = NetServer;
    const listen = t.mock.method(prototype, "listen");
    const refused: Error[] = [];
    const other = new HttpServer(
      BOUNDS,
      (request, response) => handler(request, response),
      undefined,
      (error) => refused.push(error),
    );
    const where = await other.listen("127.0.0.1", 0);
    const inner = listen.mock.calls[0].this as NetServer;
    handler = (_request, response) => {
      response.writeHead(200, ["content-length", "0"]);
      response.end();
    };
    // As `accept` does where the system has no descriptors or no memory left: nothing on this machine may run out of them.
    inner.emit("error", new Error("accept ENFILE"));
    assert.match(String(refused), /ENFILE/);
    const socket = connect({ host: "127.0.0.1", port: where.port });
    socket.write(call("/", "a"));
    const [answer] = (await once(socket, "data")) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
    socket.destroy();
    await other.drain();
    other.destroy();
  });

  test("drain ends idle connections at once, the others with their answer (X6)", async () => {
    const other = new HttpServer(BOUNDS, (request, response) => handler(request, response));
    const where = await other.listen("127.0.0.1", 0);
    let answer = () => {};
    handler = (_request, response) => {
      answer = () => {
        response.writeHead(200, ["content-length", "0"]);
        response.end();
      };
    };
    const idle = connect({ host: "127.0.0.1", port: where.port });
    const busy = connect({ host: "127.0.0.1", port: where.port });
    let received = "";
    busy.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
    });
    idle.resume();
    await new Promise((resolve) => idle.once("connect", resolve));
    busy.write(call("/", "a"));
    await until(() => answer.name !== "" && received === "" && busy.bytesWritten > 0);
    let isClosed = false;
    await until(() => answer.toString().includes("writeHead"));
    const closed = other.drain().then(() => {
      isClosed = true;
    });
    await until(() => idle.closed);
    assert.equal(isClosed, false);
    answer();
    await closed;
    await until(() => busy.closed);
    assert.match(received, /connection: close/);
    other.destroy();
  });
});
