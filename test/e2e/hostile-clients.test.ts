import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { rawCall, sendBytes, statusesOf } from "../support/http-client.ts";
import { runs } from "../support/property.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

const CHAT = { model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] };
const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

describe("what hostile clients get", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({
      yaml: `${PLANS_AND_KEYS}\nbounds: { body_bytes_max: 20000000 }\n`,
    });
  });
  after(() => under.close());

  const post = (path: string, body: string | Buffer, headers: Readonly<Record<string, string>> = {}) =>
    rawCall(under.url, {
      path,
      headers: { "content-type": "application/json", authorization: "Bearer key-of-carol", ...headers },
      body,
    });
  const charged = async () => {
    const { body } = await rawCall(under.url, {
      method: "GET",
      path: "/sluice/v1/limits",
      headers: { "x-api-key": "key-of-carol" },
    });
    return body.toString().replace(/"more_in_ms":\d+/g, "");
  };
  const nothingCharged = async (work: () => Promise<void>) => {
    const [before, sent] = [await charged(), under.provider.stats.requests];
    await work();
    assert.equal(await charged(), before);
    assert.equal(under.provider.stats.requests, sent);
  };

  const bad: Readonly<Record<string, string | Buffer>> = {
    "bad JSON": '{"model": "gpt-4o-mini", ',
    nothing: "",
    "an array": "[]",
    null: "null",
    "a number": "17",
    "no model": JSON.stringify({ messages: CHAT.messages }),
    "a model that is no text": JSON.stringify({ ...CHAT, model: { a: 1 } }),
    "max_tokens 1e308": `{"model":"m","messages":[],"max_tokens":1e308}`,
    "negative max_tokens": JSON.stringify({ ...CHAT, max_tokens: -1 }),
    "max_tokens as text": JSON.stringify({ ...CHAT, max_tokens: "100" }),
    "10,000 levels": `{"model":"m","messages":${nested(10_000)}}`,
    "bytes that are no UTF-8": Buffer.concat([
      Buffer.from('{"model":"m'),
      Buffer.from([0xff, 0xfe, 0xc0]),
      Buffer.from('"'),
    ]),
  };
  for (const [what, body] of Object.entries(bad)) {
    test(`${what} as a body: a 4xx in the provider's shape, and nothing is charged (X3)`, () =>
      nothingCharged(async () => {
        const openai = await post("/v1/chat/completions", body);
        assert.ok(openai.status >= 400 && openai.status < 500, `${openai.status} ${openai.body}`);
        const { error } = JSON.parse(openai.body.toString()) as { error: { message: string; code: string } };
        assert.ok(error.message.length > 10);
        const anthropic = await post("/v1/messages", body);
        assert.ok(anthropic.status >= 400 && anthropic.status < 500, `${anthropic.status} ${anthropic.body}`);
        assert.equal((JSON.parse(anthropic.body.toString()) as { type: string }).type, "error");
      }));
  }

  test("wrong types, encodings and sizes of a body are refused as such (X3)", () =>
    nothingCharged(async () => {
      const body = JSON.stringify(CHAT);
      const statuses = [
        await post("/v1/chat/completions", body, { "content-type": "text/plain" }),
        await post("/v1/chat/completions", body, { "content-encoding": "gzip" }),
        await post("/v1/chat/completions", "x".repeat(20_000_001)).catch(() => ({ status: 413 })),
        await post("/v1/chat/completions", body, { authorization: "Bearer nobody" }),
        await post("/v1/chat/completions", body, { authorization: "" }),
      ].map(({ status }) => status);
      assert.deepEqual(statuses, [400, 400, 413, 401, 401]);
    }));

  test("a chunked body that grows over the bound is refused (X3)", () =>
    nothingCharged(async () => {
      const chunk = `${(1 << 20).toString(16)}\r\n${"a".repeat(1 << 20)}\r\n`;
      const head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-of-carol\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
      const { received, closed } = await sendBytes(under.url, head + chunk.repeat(21));
      assert.ok(closed || statusesOf(received).includes(413), received.slice(0, 200));
    }));

  const requestLine =
    "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-of-carol\r\n";
  const smuggled: Readonly<Record<string, string>> = {
    "two lengths": `${requestLine}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!`,
    "a length and chunks": `${requestLine}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    "a folded header": `${requestLine}x-a: b\r\n folded\r\ncontent-length: 0\r\n\r\n`,
    "a length that is none": `${requestLine}content-length: -1\r\n\r\n`,
    "a zero byte in a header": `${requestLine}x-a: b\0c\r\ncontent-length: 0\r\n\r\n`,
    "a header bomb": `${requestLine}${`x-a: ${"b".repeat(1_000)}\r\n`.repeat(1_000)}\r\n`,
    noise: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "half a request": `${requestLine}content-length: 100\r\n\r\n{`,
  };
  for (const [what, bytes] of Object.entries(smuggled)) {
    test(`${what}: a 4xx or a closed connection, and nothing is charged (X3)`, () =>
      nothingCharged(async () => {
        const { received, closed } = await sendBytes(under.url, bytes, { timeoutMs: 700 });
        const statuses = statusesOf(received);
        assert.ok(
          statuses.every((status) => status >= 400 && status < 500),
          received.slice(0, 200),
        );
        if (what !== "half a request")
          assert.ok(closed || statuses.length > 0, "neither answered nor closed");
      }));
  }

  test("paths that leave the provider's, and methods that are none of a proxy's, go nowhere (X3)", () =>
    nothingCharged(async () => {
      for (const path of [
        "/openai/../sluice",
        "/openai/%2e%2e/x",
        "/v1/%2E./admin",
        "//evil/v1",
        "/nobody/v1/x",
        "/",
      ]) {
        const { received } = await sendBytes(
          under.url,
          `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-of-carol\r\nconnection: close\r\n\r\n`,
        );
        assert.deepEqual(statusesOf(received), [404], path);
      }
      const connect = await sendBytes(under.url, "CONNECT evil:443 HTTP/1.1\r\nhost: evil\r\n\r\n");
      assert.ok(statusesOf(connect.received).every((status) => status >= 400));
    }));

  test("ten megabytes of one character, and lone surrogates, are a call like any other (X3)", async () => {
    for (const content of ["a".repeat(10_000_000), "\ud800 \udc00 \ud83d"]) {
      const { status } = await post(
        "/v1/chat/completions",
        JSON.stringify({ ...CHAT, messages: [{ role: "user", content }], max_tokens: 5 }),
      );
      assert.equal(status, 200);
    }
    const polluted = await post(
      "/v1/chat/completions",
      `{"__proto__":{"model":"x"},"model":"m","messages":[],"max_tokens":3,"constructor":{"prototype":1}}`,
    );
    assert.equal(polluted.status, 200);
  });

  test("whatever bytes come, the gateway goes on (X3)", async () => {
    const valid = `${requestLine}content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`;
    const mutated = fc
      .record({ at: fc.nat(valid.length), bytes: fc.uint8Array({ maxLength: 12 }), cut: fc.nat(6) })
      .map(
        ({ at, bytes, cut }) =>
          valid.slice(0, at) + Buffer.from(bytes).toString("latin1") + valid.slice(at + cut),
      );
    await fc.assert(
      fc.asyncProperty(mutated, async (bytes) => {
        const { received } = await sendBytes(under.url, bytes, { timeoutMs: 100 });
        assert.ok(
          statusesOf(received).every((status) => status < 500),
          received.slice(0, 300),
        );
      }),
      runs(150),
    );
    assert.equal((await rawCall(under.url, { method: "GET", path: "/healthz" })).status, 200);
    assert.ok(!under.lines.some((line) => line.includes("unexpected")), under.lines.join("\n"));
  });
});
