import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { rawCall } from "../support/http-client.ts";
import { settledUse } from "../support/limits-page.ts";
import { onRequests, startRawServer } from "../support/raw-server.ts";
import { PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

/** A gateway in front of a provider that says to everything what `answer` is. */
async function startWith(t: TestContext, answer: () => Buffer) {
  const provider = await startRawServer((socket) => onRequests(socket, () => socket.write(answer())));
  const providers = `providers: { openai: { base_url: "${provider.origin}", accounts: [{ name: main, key: k }] } }`;
  const under = await startGatewayUnderTest({ yaml: `${providers}\n${PLANS_AND_KEYS}` });
  t.after(async () => {
    await under.close();
    await provider.close();
  });
  const chat = (fields: object) =>
    rawCall(under.url, {
      path: "/v1/chat/completions",
      headers: { authorization: "Bearer key-of-carol", "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }], ...fields }),
    });
  return { under, chat };
}

const httpAnswer = (body: Buffer, ...fields: readonly string[]) =>
  Buffer.concat([
    Buffer.from(["HTTP/1.1 200 OK", `content-length: ${body.length}`, ...fields, "", ""].join("\r\n")),
    body,
  ]);

const USAGE = { prompt_tokens: 9, completion_tokens: 4_000, total_tokens: 4_009 };
const COMPLETION = Buffer.from(
  JSON.stringify({ choices: [{ message: { content: "a lot" } }], usage: USAGE }),
);
const STREAM = Buffer.from(
  `data: ${JSON.stringify({ choices: [{ delta: { content: "word ".repeat(4_000) } }] })}\n\ndata: [DONE]\n\n`,
);

for (const [what, body, type, fields] of [
  ["an answer", COMPLETION, "application/json", {}],
  ["a stream", STREAM, "text/event-stream", { stream: true }],
] as const) {
  test(`Exchange charges ${what} that is compressed unasked the call's own maximum, and says so once (S2)`, async (t) => {
    const packed = gzipSync(body);
    const { under, chat } = await startWith(t, () =>
      httpAnswer(packed, `content-type: ${type}`, "Content-Encoding: gzip"),
    );
    for (let calls = 1; calls <= 3; calls++) {
      const answer = await chat({ ...fields, max_tokens: 5_000 });
      assert.equal(answer.headers["content-encoding"], "gzip");
      assert.ok(answer.body.equals(packed));
      assert.equal((await settledUse(under.url, "key-of-carol")).output_tokens, calls * 5_000);
    }
    assert.equal(under.lines.filter((line) => line.includes("compresses its answers")).length, 1);
    assert.equal(await under.metric("sluice_usage_missing_total"), 3);
  });
}

test("Exchange charges a compressed answer to a call without a maximum what was held for it (S2)", async (t) => {
  const { under, chat } = await startWith(t, () =>
    httpAnswer(gzipSync(COMPLETION), "content-type: application/json", "content-encoding: gzip"),
  );
  await chat({});
  assert.ok((await settledUse(under.url, "key-of-carol")).output_tokens > 100);
});

test("Exchange reads an answer that says that it is not compressed (L7)", async (t) => {
  const { under, chat } = await startWith(t, () =>
    httpAnswer(COMPLETION, "content-type: application/json", "content-encoding: identity"),
  );
  await chat({ max_tokens: 5_000 });
  assert.equal((await settledUse(under.url, "key-of-carol")).output_tokens, USAGE.completion_tokens);
});

test("StreamMeter reads a stream that begins with a byte order mark (L7)", async (t) => {
  const event = Buffer.from(
    `\ufeffdata: ${JSON.stringify({ choices: [], usage: USAGE })}\n\ndata: [DONE]\n\n`,
  );
  const { under, chat } = await startWith(t, () => httpAnswer(event, "content-type: text/event-stream"));
  await chat({ stream: true, stream_options: { include_usage: true }, max_tokens: 5_000 });
  assert.equal((await settledUse(under.url, "key-of-carol")).output_tokens, USAGE.completion_tokens);
});

test("downstreamHeaders lets nobody speak in Sluice's name, nor of the provider's connection (S1, X3)", async (t) => {
  const { chat } = await startWith(t, () =>
    httpAnswer(
      COMPLETION,
      "content-type: application/json",
      "X-Sluice-Account: spoofed",
      "x-sluice-cost-usd: 0",
      "X-Hop: gone",
      "Connection: keep-alive, x-hop",
      "x-kept: yes",
    ),
  );
  const { headers } = await chat({});
  assert.equal(headers["x-sluice-account"], "main");
  assert.deepEqual(
    [headers["x-sluice-cost-usd"], headers["x-hop"], headers["x-kept"]],
    [undefined, undefined, "yes"],
  );
});

test("Exchange passes a 204 on without a length (S1)", async (t) => {
  const { chat } = await startWith(t, () =>
    Buffer.from("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\nx-kept: yes\r\n\r\n"),
  );
  const { status, headers } = await chat({});
  assert.deepEqual([status, headers["content-length"], headers["x-kept"]], [204, undefined, "yes"]);
});
