import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type RawAnswer, rawCall, sendBytes, statusesOf } from "../support/http-client.ts";
import { assertUncharged, settledUse } from "../support/limits-page.ts";
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

  const uncharged = (attempt: () => Promise<void>) => assertUncharged(under, attempt);

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

  test("recognisedPath meters a call however its path is spelled (X3)", async () => {
    const paths = [
      "/v1/chat/completions/",
      "/v1//chat/completions",
      "/v1/chat/%63ompletions",
      "/v1/Chat/Completions",
      "/v1/chat%2fcompletions",
      "/v1/chat/completions;x=1",
      "/openai/chat/completions",
      "/v1/chat/completions?x=1",
      "/v1/chat/completions%20",
      "/v1/chat/completions.",
      "/v1/chat/completions./",
      "/v1/%zz/chat/%63ompletions",
    ];
    for (const path of paths) {
      const before = await settledUse(under.url, "key-of-bob");
      const headers = { ...AUTHORIZED, authorization: "Bearer key-of-bob", "x-replay-fail-status": "500" };
      const answer = await rawCall(under.url, { path, headers, body: bodyWith({}) });
      // Bob's plan limits tokens only: for a call that nobody has read it has no limit, and no header.
      assert.equal(answer.headers["x-ratelimit-limit-tokens"], "10000", path);
      assert.deepEqual(await settledUse(under.url, "key-of-bob"), before);
    }
  });

  test("routeOf refuses targets that servers cut in different places: fragments, escaped control characters (X3)", () =>
    uncharged(async () => {
      const sent = under.provider.requests.length;
      const targets = ["#", "#?x", "?a#b", "%0a", "%0D", "%00", "%09", "%1f", "%7F"].flatMap((end) => [
        `${CHAT}${end}`,
        `${MESSAGES}${end}`,
        `/openai${CHAT}${end}`,
      ]);
      for (const path of targets) {
        const answer = await rawCall(under.url, { path, headers: AUTHORIZED, body: bodyWith({}) });
        assert.equal(answer.status, 400, path);
        assert.match(answer.body.toString(), /"code":"invalid_request"/);
      }
      assert.equal(under.provider.requests.length, sent);
    }));

  test("forwardCall passes bytes that are no UTF-8, lone surrogates and odd keys on as they are (S1, X3)", async () => {
    const bodies: readonly Buffer[] = [
      Buffer.from(bodyWith({ messages: [{ role: "user", content: "\ud800 and \udfff" }] })),
      Buffer.from(bodyWith({}).replace("hello", "\\ud83d \\u0000")),
      Buffer.concat([
        Buffer.from('{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"'),
        Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80]),
        Buffer.from('"}]}'),
      ]),
      Buffer.from(
        bodyWith({}).replace("{", '{"__proto__":{"model":"x","max_tokens":"9"},"constructor":null,'),
      ),
      Buffer.from(bodyWith({ messages: "no list", tools: 5, stream_options: "none", response_format: [[]] })),
      Buffer.from(`\r\n\t ${bodyWith({})}   `),
    ];
    for (const path of [CHAT, MESSAGES])
      for (const body of bodies) {
        const before = await settledUse(under.url, KEY);
        const stats = under.provider.stats;
        const { status } = await rawCall(under.url, { path, headers: AUTHORIZED, body });
        assert.ok(under.provider.requests.at(-1)?.body.equals(body), body.toString());
        const now = await settledUse(under.url, KEY);
        assert.equal(now.requests - before.requests, 1);
        assert.equal(
          now.input_tokens - before.input_tokens,
          under.provider.stats.inputTokens - stats.inputTokens,
        );
        assert.ok(status === 200 || now.tokens === before.tokens);
      }
    assert.equal(({} as Record<string, unknown>).model, undefined);
  });

  test("forwardCall refuses 10 MB of one character to who has no room for it, and serves who has (X3)", async () => {
    const body = bodyWith({ messages: [{ role: "user", content: "a".repeat(10_000_000) }] });
    await uncharged(async () => {
      const headers = { ...AUTHORIZED, authorization: "Bearer key-of-alice" };
      for (const path of [CHAT, MESSAGES]) {
        const answer = await rawCall(under.url, { path, headers, body });
        assert.equal(answer.status, 429);
        assert.match(answer.body.toString(), /"code":"request_too_large_for_limit"/);
      }
    });
    assert.equal((await rawCall(under.url, { path: CHAT, headers: AUTHORIZED, body })).status, 200);
  });
});
