import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { rawCall, sendBytes, statusesOf } from "../support/http-client.ts";
import { assertUncharged, limitsPage, settledUse } from "../support/limits-page.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const BODY_BYTES_MAX = 100_000;
const REQUEST_TIMEOUT_MS = 400;
const KEY = "key-of-carol";
const CHAT = "/v1/chat/completions";
const HEAD = `host: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\n`;
const CALL = '{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}';
const LENGTH = `content-length: ${CALL.length}\r\n`;

/** A whole call, as bytes. */
const post = (key: string, headers = "", body = CALL) =>
  `POST ${CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`;

const NOT_HTTP: Readonly<Record<string, string>> = {
  "a header bomb": `POST ${CHAT} HTTP/1.1\r\n${HEAD}x: ${"a".repeat(100_000)}\r\n\r\n`,
  "too many headers": `POST ${CHAT} HTTP/1.1\r\n${HEAD}${"a:b\r\n".repeat(20_000)}\r\n`,
  "a very long URL": `POST /v1/${"a".repeat(100_000)} HTTP/1.1\r\n${HEAD}\r\n`,
  "two lengths": `POST ${CHAT} HTTP/1.1\r\n${HEAD}${LENGTH}content-length: 5\r\n\r\n${CALL}`,
  "two equal lengths": `POST ${CHAT} HTTP/1.1\r\n${HEAD}${LENGTH}${LENGTH}\r\n${CALL}`,
  "a length and chunks": `POST ${CHAT} HTTP/1.1\r\n${HEAD}${LENGTH}transfer-encoding: chunked\r\n\r\n0\r\n\r\n${CALL}`,
  "chunks and a length": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n${LENGTH}\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\n${HEAD}\r\n`,
  "an encoding that is not chunked": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: identity\r\n\r\n${CALL}`,
  "chunked twice": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  "a call that is compressed and chunked": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  "an upload that is compressed and chunked": `POST /v1/files HTTP/1.1\r\n${HEAD}transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  "a length with a sign": `POST ${CHAT} HTTP/1.1\r\n${HEAD}content-length: +${CALL.length}\r\n\r\n${CALL}`,
  "a length below zero": `POST ${CHAT} HTTP/1.1\r\n${HEAD}content-length: -1\r\n\r\n${CALL}`,
  "a length beyond all numbers": `POST ${CHAT} HTTP/1.1\r\n${HEAD}content-length: 99999999999999999999999\r\n\r\n`,
  "a space before the colon": `POST ${CHAT} HTTP/1.1\r\n${HEAD}content-length : 5\r\n\r\n${CALL}`,
  "a chunk that is no number": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\nxyz\r\n`,
  "a chunk of endless length": `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n`,
  "a folded header": `POST ${CHAT} HTTP/1.1\r\nhost: x\r\nauthorization:\r\n Bearer ${KEY}\r\ncontent-length: 0\r\n\r\n`,
  "NUL in a header": `POST ${CHAT} HTTP/1.1\r\n${HEAD}x-a: a\0b\r\n${LENGTH}\r\n${CALL}`,
  "NUL in the path": `POST /v1/chat\0/completions HTTP/1.1\r\n${HEAD}${LENGTH}\r\n${CALL}`,
  "a lone carriage return": `POST ${CHAT} HTTP/1.1\r\n${HEAD}x-a: a\rb: c\r\n${LENGTH}\r\n${CALL}`,
  "no host": `POST ${CHAT} HTTP/1.1\r\nauthorization: Bearer ${KEY}\r\n${LENGTH}\r\n${CALL}`,
  "a version of its own": `POST ${CHAT} HTTP/9.9\r\n${HEAD}${LENGTH}\r\n${CALL}`,
  "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
  "a TLS handshake": "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
  "a verb of its own": `SMUGGLE ${CHAT} HTTP/1.1\r\n${HEAD}\r\n`,
  "a tunnel": `CONNECT example.com:443 HTTP/1.1\r\n${HEAD}\r\n`,
  "an expectation of its own": `POST ${CHAT} HTTP/1.1\r\n${HEAD}expect: the-worst\r\n${LENGTH}\r\n${CALL}`,
  "only line ends": "\r\n".repeat(50_000),
  noise: "\x01\x02\x03\xff\xfe\0\0\0{}<>",
};

describe("the gateway with connections that mean no good", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({
      yaml: `bounds: { body_bytes_max: ${BODY_BYTES_MAX} }\n${PLANS_AND_KEYS}`,
      bounds: { requestTimeoutMs: REQUEST_TIMEOUT_MS, uploadBytesMax: 1_000_000 },
    });
  });
  after(() => under.close());
  const uncharged = (attempt: () => Promise<void>) => assertUncharged(under, attempt);

  test("answerBrokenRequest answers what is not HTTP with one 4xx or closes the connection (X3)", () =>
    uncharged(async () => {
      for (const [title, bytes] of Object.entries(NOT_HTTP)) {
        const { received, closed } = await sendBytes(under.url, bytes, {
          answers: 2,
          timeoutMs: 3_000,
          end: true,
        });
        const statuses = statusesOf(received);
        assert.ok(closed, `${title}: still open after ${received}`);
        assert.ok(statuses.length <= 1 && statuses.every((status) => status < 500), `${title}: ${received}`);
        assert.ok(
          statuses.every((status) => status >= 400),
          `${title}: ${received}`,
        );
      }
    }));

  test("forwardCall asks for a body that a client announces only where it is wanted, and once (X3)", async () => {
    const announce = (path: string, length: number, key: string) =>
      `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\nexpect: 100-continue\r\ncontent-length: ${length}\r\n\r\n`;
    const asked = (received: string) => received.split("HTTP/1.1 100 Continue").length - 1;
    await uncharged(async () => {
      const tooLarge = await sendBytes(under.url, announce(CHAT, BODY_BYTES_MAX + 1, KEY));
      assert.deepEqual([asked(tooLarge.received), statusesOf(tooLarge.received)], [0, [413]]);
      const unknown = await sendBytes(under.url, announce("/v1/files", 100, "no-such-key"));
      assert.deepEqual([asked(unknown.received), statusesOf(unknown.received)], [0, [401]]);
    });
    for (const path of [CHAT, "/v1/files"]) {
      const wanted = await sendBytes(under.url, announce(path, CALL.length, KEY) + CALL);
      assert.equal(asked(wanted.received), 1, wanted.received);
      assert.equal(statusesOf(wanted.received).length, 1);
    }
  });

  test("forwardCall takes an upgrade for an ordinary call, and passes none on (X3)", async () => {
    const upgrade = `GET /v1/models HTTP/1.1\r\n${HEAD}connection: upgrade, x-private\r\nx-private: 1\r\nupgrade: websocket\r\n\r\n`;
    const { received } = await sendBytes(under.url, upgrade);
    assert.deepEqual(statusesOf(received), [200]);
    const names = under.provider.requests.at(-1)?.headers.filter((_, index) => index % 2 === 0) ?? [];
    assert.deepEqual(
      names.filter((name) => /^(upgrade|x-private)$/i.test(name)),
      [],
    );
  });

  test("Gateway answers pipelined requests in their order, each by its own rules (X3)", async () => {
    const post = (key: string, headers = "") =>
      `POST ${CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n${headers}content-length: ${CALL.length}\r\n\r\n${CALL}`;
    const before = await settledUse(under.url, KEY);
    const bytes =
      post(KEY, "x-replay-latency-ms: 50\r\n") +
      post("no-such-key") +
      `GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n` +
      post(KEY);
    const { received } = await sendBytes(under.url, bytes, { answers: 4 });
    assert.deepEqual(statusesOf(received), [200, 401, 200, 200]);
    assert.equal((await settledUse(under.url, KEY)).requests, before.requests + 2);
  });

  test("Gateway gives back what a client holds that goes away with pipelined calls open (X3)", async () => {
    const before = await settledUse(under.url, KEY);
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(under.url).port) });
    const long = "x-replay-output-tokens: 50000\r\n";
    socket.write(post(KEY, "x-replay-hang: true\r\n") + post(KEY, long).repeat(3));
    await until(() => under.provider.stats.open > 0);
    socket.destroy();
    await until(() => under.provider.stats.open === 0);
    await until(async () => (await limitsPage(under.url, KEY)).every(({ held }) => held === 0));
    assert.ok((await settledUse(under.url, KEY)).requests >= before.requests + 1);
  });

  const openSockets = () =>
    process.getActiveResourcesInfo().filter((resource) => resource === "TCPSocketWrap").length;

  test("answerBrokenRequest does not keep a connection that its client never closes (X3)", () =>
    uncharged(async () => {
      const before = openSockets();
      const socket = connect({
        host: "127.0.0.1",
        port: Number(new URL(under.url).port),
        allowHalfOpen: true,
      });
      socket.on("error", () => {});
      let isAnswered = false;
      socket.on("data", () => {
        isAnswered = true;
      });
      socket.write("no HTTP at all\r\n\r\n");
      await until(() => isAnswered);
      // The client's own end of the connection is all that is left.
      await until(() => openSockets() <= before + 1);
      socket.destroy();
    }));

  test("Gateway answers half a request with 408, or closes, when its time is up (X3)", () =>
    uncharged(async () => {
      const halves = [
        "",
        "POST ",
        `POST ${CHAT} HTTP/1.1\r\n${HEAD}`,
        `POST ${CHAT} HTTP/1.1\r\n${HEAD}content-length: 1000\r\n\r\n{"model":`,
        `POST ${CHAT} HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\n5\r\nhel`,
        `POST /healthz HTTP/1.1\r\n${HEAD}content-length: 1000\r\n\r\n`,
      ];
      for (const half of halves) {
        const { received, closed } = await sendBytes(under.url, half, { answers: 2 });
        assert.ok(closed, `still open: ${half}`);
        assert.ok(
          statusesOf(received).every((status) => status >= 400 && status < 500),
          received,
        );
      }
    }));

  test("Gateway cuts a request that arrives byte by byte (X3)", () =>
    uncharged(async () => {
      const socket = connect({ host: "127.0.0.1", port: Number(new URL(under.url).port) });
      socket.on("error", () => {});
      let isClosed = false;
      socket.on("close", () => {
        isClosed = true;
      });
      socket.resume();
      const bytes = post(KEY, `x: ${"a".repeat(1_000)}\r\n`);
      let sent = 0;
      const drip = setInterval(() => socket.write(bytes[sent++]), 10);
      await until(() => isClosed);
      clearInterval(drip);
      assert.ok(sent < bytes.length);
    }));

  test("unreadBody stops an upload that grows too large, answers 413, and stops sending it on (X3)", async () => {
    const body = `${"f4240\r\n"}${"a".repeat(1_000_000)}\r\n`.repeat(3);
    const upload = `POST /v1/files HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\n${body}`;
    const { received, closed } = await sendBytes(under.url, upload);
    assert.ok(closed || statusesOf(received)[0] === 413, received);
    await until(async () => (await limitsPage(under.url, KEY)).every(({ held }) => held === 0));
    await uncharged(async () => {
      const announced = await rawCall(under.url, {
        path: "/v1/files",
        headers: { authorization: `Bearer ${KEY}` },
        body: "a".repeat(1_000_001),
      });
      assert.equal(announced.status, 413);
    });
  });
});
