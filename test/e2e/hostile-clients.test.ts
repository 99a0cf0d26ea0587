import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type RawAnswer, rawCall, sendBytes, statusesOf } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

const BODY_BYTES_MAX = 16_000_000;
const KEY = "key-of-carol";
const CHAT = "/v1/chat/completions";
const MESSAGES = "/v1/messages";
const AUTHORIZED = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };

/** A body that both formats take, with other members in their place. */
const bodyWith = (changes: Readonly<Record<string, unknown>>) =>
  JSON.stringify({
    model: "gpt-4o-mini",
    max_tokens: 5,
    messages: [{ role: "user", content: "hello" }],
    ...changes,
  });

function assertErrorShape(path: string, answer: RawAnswer): void {
  const body = JSON.parse(answer.body.toString()) as {
    type?: string;
    request_id?: string;
    error: { type: string; message: string; code: string };
  };
  assert.equal(answer.headers["content-type"], "application/json");
  assert.equal(typeof body.error.message, "string");
  assert.match(body.error.type, /^[a-z_]+$/);
  assert.match(body.error.code, /^[a-z_]+$/);
  if (path.startsWith(MESSAGES)) assert.equal(body.type, "error");
}

describe("the gateway with clients that mean no good", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({
      yaml: `bounds: { body_bytes_max: ${BODY_BYTES_MAX} }\n${PLANS_AND_KEYS}`,
    });
  });
  after(() => under.close());

  /** Runs something that must neither be charged nor reach the provider, and leave the gateway serving. */
  const uncharged = async (attempt: () => Promise<void>) => {
    const keys = [KEY, "key-of-alice"];
    const books = () => Promise.all(keys.map((key) => limitsPage(under.url, key)));
    const [before, calls] = [await books(), under.provider.stats.requests];
    await attempt();
    assert.deepEqual(await books(), before);
    assert.equal(under.provider.stats.requests, calls, "the provider was called");
    const served = await rawCall(under.url, { method: "GET", path: "/healthz" });
    assert.equal(served.status, 200);
    assert.deepEqual(
      under.lines.filter((line) => line.includes('"level":50')),
      [],
    );
  };

  const refused = async (
    path: string,
    body: string | Buffer,
    status: number,
    headers: Readonly<Record<string, string>> = {},
  ) => {
    const answer = await rawCall(under.url, { path, headers: { ...AUTHORIZED, ...headers }, body });
    const shown = `${String(body).slice(0, 60)}: ${answer.body.toString().slice(0, 300)}`;
    assert.equal(answer.status, status, shown);
    assertErrorShape(path, answer);
  };

  const BAD_BODIES: Readonly<Record<string, string | Buffer>> = {
    "an empty body": "",
    "half a JSON text": '{"model":"gpt-4o-mini","messages":[',
    "no JSON": "model=gpt-4o-mini",
    "JSON and more": `${bodyWith({})}{}`,
    "UTF-16": Buffer.from(bodyWith({}), "utf16le"),
    "bytes that are no text": Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x7b, 0x7d]),
    "an array": "[]",
    "an array of calls": `[${bodyWith({})}]`,
    null: "null",
    "a number": "1e400",
    "a text": '"hello"',
    "no model": "{}",
    "a model that is null": bodyWith({ model: null }),
    "a model that is empty": bodyWith({ model: "" }),
    "a model that is an object": bodyWith({ model: { toString: "x" } }),
    "a model of 10,000 characters": bodyWith({ model: "m".repeat(10_000) }),
    "10,000 arrays in each other": `{"model":"m","messages":${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
    "10,000 objects in each other": `{"model":"m","a":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`,
    "1,000,000 opening brackets": "[".repeat(1_000_000),
    "a maximum of 1e308": bodyWith({}).replace('"max_tokens":5', '"max_tokens":1e308'),
    "a maximum beyond all numbers": bodyWith({}).replace('"max_tokens":5', '"max_tokens":1e999'),
    "a maximum below zero": bodyWith({ max_tokens: -5 }),
    "a maximum of zero": bodyWith({ max_tokens: 0 }),
    "a maximum that is half a token": bodyWith({ max_tokens: 0.5 }),
    "a maximum that is a text": bodyWith({ max_tokens: "5" }),
    "a stream that is a text": bodyWith({ stream: "false" }),
    "10 MB of one character": "a".repeat(10_000_000),
  };

  test("forwardCall answers a body that is none with 400 in the provider's shape, and charges nothing (X3)", () =>
    uncharged(async () => {
      for (const path of [CHAT, MESSAGES, "/openai/v1/responses"])
        for (const [title, body] of Object.entries(BAD_BODIES)) {
          if (path.endsWith("responses") && title.includes("maximum")) continue;
          await refused(path, body, 400);
        }
    }));

  test("forwardCall refuses other content types and encodings (X3)", () =>
    uncharged(async () => {
      for (const path of [CHAT, MESSAGES]) {
        await refused(path, bodyWith({}), 400, { "content-type": "text/plain" });
        await refused(path, bodyWith({}), 400, { "content-type": "multipart/form-data; boundary=x" });
        await refused(path, bodyWith({}), 400, { "content-encoding": "gzip" });
      }
    }));

  test("forwardCall answers a missing, an unknown and a misspelt key with 401 in the provider's shape (X1, X3)", () =>
    uncharged(async () => {
      const names = ["__proto__", "constructor", "toString", "", "null"];
      const keys = [
        undefined,
        "Bearer ",
        `bearer${KEY}`,
        `Basic ${KEY}`,
        "Bearer no-such-key",
        `Bearer ${KEY}x`,
      ];
      for (const path of [CHAT, MESSAGES, "/openai/v1/files", "/v1/models"])
        for (const authorization of [...keys, ...names.map((name) => `Bearer ${name}`)]) {
          const headers = authorization === undefined ? {} : { authorization };
          const answer = await rawCall(under.url, { path, headers, body: bodyWith({}) });
          assert.equal(answer.status, 401, `${path} ${authorization}`);
          assertErrorShape(path, answer);
        }
      const limits = await rawCall(under.url, { method: "GET", path: "/sluice/v1/limits" });
      assert.equal(limits.status, 401);
    }));

  test("forwardCall refuses a body that is too large, announced or not, read or passed through (X3)", () =>
    uncharged(async () => {
      for (const path of [CHAT, MESSAGES]) {
        const headers = { ...AUTHORIZED, "content-length": String(BODY_BYTES_MAX + 1) };
        const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
        const announced = await sendBytes(
          under.url,
          `POST ${path} HTTP/1.1\r\nhost: x\r\n${head.join("")}\r\n`,
        );
        assert.deepEqual(statusesOf(announced.received), [413]);
        assert.match(announced.received, /"code":"body_too_large"/);
        const chunk = "a".repeat(1_000_000);
        const chunked = await sendBytes(
          under.url,
          `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\ntransfer-encoding: chunked\r\n\r\n${`f4240\r\n${chunk}\r\n`.repeat(17)}`,
        );
        assert.ok(chunked.closed || statusesOf(chunked.received)[0] === 413, chunked.received);
      }
    }));

  const HEAD = `host: x\r\nauthorization: Bearer ${KEY}\r\ncontent-type: application/json\r\n`;
  const CALL = bodyWith({});
  const LENGTH = `content-length: ${CALL.length}\r\n`;
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

  test("routeOf answers paths that lead elsewhere with 404 (X3)", () =>
    uncharged(async () => {
      const paths = [
        "/openai/../healthz",
        "/openai/v1/../../anthropic/v1/messages",
        "/openai/%2e%2e/healthz",
        "/openai/.%2E/x",
        "/openai/v1/./models",
        "/openai/..%2fx",
        "/openai/x%2f..%2Fy",
        "/openai/..%5cx",
        "/openai/..\\x",
        "/openai/..;/x",
        "/openai",
        "/nobody/v1/models",
        "//openai/v1/models",
        "/__proto__/v1/models",
        "/constructor/x",
        "http://example.com/v1/models",
        `http://127.0.0.1${CHAT}`,
        "*",
      ];
      for (const path of paths)
        for (const method of ["GET", "POST"]) {
          const answer = await rawCall(under.url, { method, path, headers: AUTHORIZED });
          assert.equal(answer.status, 404, `${method} ${path}`);
          assertErrorShape(path, answer);
        }
    }));

  test("forwardCall passes no TRACE on, which would echo the account's key (X1, X3)", () =>
    uncharged(async () => {
      for (const path of ["/v1/models", MESSAGES, "/openai/x"]) {
        const answer = await rawCall(under.url, { method: "TRACE", path, headers: AUTHORIZED });
        assert.equal(answer.status, 400);
        assertErrorShape(path, answer);
      }
    }));

  test("forwardCall needs a key for every method (X3)", () =>
    uncharged(async () => {
      for (const method of ["OPTIONS", "PUT", "PATCH", "DELETE", "HEAD", "PROPFIND"])
        assert.equal((await rawCall(under.url, { method, path: CHAT })).status, 401, method);
    }));
});
