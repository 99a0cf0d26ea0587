import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttpServer, request as httpRequest } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import type { Switches } from "../../src/replay-provider/switches.ts";
import { rawCall } from "../support/http-client.ts";
import { type GatewayUnderTest, startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const yaml = (onDisconnect: "abort" | "drain") => `
on_disconnect: ${onDisconnect}
plans:
  all:
    when_limited: reject
    limits:
      - { meter: requests, limit: 100000, per: 1h }
      - { meter: output_tokens, limit: 100000000, per: 1h }
      - { meter: tokens, limit: 100000000, per: 1h }
      - { meter: concurrency, limit: 4 }
identity: { keys: [{ key: key-of-alice, user: alice, plan: all }] }
bounds: { provider_timeout: 1s }
`;

const HEADERS = { "content-type": "application/json", authorization: "Bearer key-of-alice" };
const chat = (rest: object) =>
  JSON.stringify({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "hello" }],
    max_tokens: 200,
    ...rest,
  });

interface Books {
  readonly [name: string]: { readonly used: number; readonly held: number };
}

async function books(under: GatewayUnderTest): Promise<Books> {
  const { body } = await rawCall(under.url, { method: "GET", path: "/sluice/v1/limits", headers: HEADERS });
  const { limits } = JSON.parse(body.toString()) as {
    limits: { name: string; used: number; held: number }[];
  };
  return Object.fromEntries(limits.map(({ name, used, held }) => [name, { used, held }]));
}

/** The bytes of the answer to this call, had nothing gone wrong: the replay provider gives the same answer to the same call. */
async function wholeAnswer(under: GatewayUnderTest, rest: object, outputTokens = 0): Promise<Buffer> {
  const headers = { ...HEADERS, "x-replay-output-tokens": String(outputTokens) };
  // As the gateway asks for it.
  const spliced = "stream" in rest ? { stream_options: { include_usage: true } } : {};
  const { body } = await rawCall(under.provider.url, {
    path: "/v1/chat/completions",
    headers,
    body: chat({ ...rest, ...spliced }),
  });
  return body;
}

/** Of an answer in words of the replay provider, a token each, up to where it breaks off. */
function wordsOf(answer: Buffer): number {
  const texts = [...answer.toString().matchAll(/"content":"([^"]*)/g)].map(([, text]) => text);
  return texts
    .join("")
    .split(" ")
    .filter((word) => word !== "").length;
}

/** Settling follows the end of a call at once; a cut that only the network tells of takes a moment to arrive. */
async function untilNothingIsHeld(under: GatewayUnderTest): Promise<Books> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const now = await books(under);
    if (Object.values(now).every(({ held }) => held === 0)) return now;
    assert.ok(Date.now() < deadline, `still held: ${JSON.stringify(now)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("when the provider fails", () => {
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: yaml("abort") });
  });
  afterEach(() => under.provider.switches.reset());
  after(() => under.close());

  const failures: readonly (readonly [string, Switches, object, number | "cut"])[] = [
    ["resets the connection", { resetOnConnect: true }, {}, 502],
    ["answers garbage", { garbage: true }, {}, 502],
    ["never answers", { hang: true }, {}, 502],
    ["cuts the body", { cutAfterBytes: 900, outputTokens: 200 }, {}, "cut"],
    ["cuts a stream", { cutAfterChunks: 121, outputTokens: 200 }, { stream: true }, "cut"],
    ["falls silent in a stream", { stallAfterChunks: 121, outputTokens: 200 }, { stream: true }, "cut"],
    ["says 429", { failStatus: 429 }, {}, 429],
    ["says 529", { failStatus: 529 }, {}, 529],
    ["says 500", { failStatus: 500 }, { stream: true }, 500],
  ];
  for (const [what, switches, body, expected] of failures) {
    test(`a provider that ${what}: the client is told, nothing stays held, what was emitted is charged (S2)`, async () => {
      const before = await untilNothingIsHeld(under);
      const whole = await wholeAnswer(under, body, switches.outputTokens);
      under.provider.switches.set(switches);
      const answer = await rawCall(under.url, {
        path: "/v1/chat/completions",
        headers: HEADERS,
        body: chat(body),
      }).catch(() => "cut" as const);
      assert.equal(answer === "cut" ? "cut" : answer.status, expected);
      if (answer !== "cut" && expected === 502) {
        const { error } = JSON.parse(answer.body.toString()) as { error: { code: string } };
        assert.equal(error.code, "provider_unavailable");
      }
      const after = await untilNothingIsHeld(under);
      const usedOf = (name: string) => after[name].used - before[name].used;
      assert.ok(usedOf("requests-1h") <= 1);
      if (switches.hang) {
        // It has worked on the call until it took too long: the prompt, and what was held for the answer.
        assert.ok(usedOf("output_tokens-1h") > 0);
        assert.ok(usedOf("tokens-1h") > usedOf("output_tokens-1h"));
        return;
      }
      if (typeof expected === "number") {
        assert.equal(usedOf("tokens-1h"), 0);
        return;
      }
      const sent = under.provider.requests.at(-1)?.sent.bytes ?? 0;
      const emitted = wordsOf(whole.subarray(0, sent));
      assert.ok(emitted >= 80 && emitted < 200, `${emitted} words emitted: the cut is not in the middle`);
      const [output, total] = [usedOf("output_tokens-1h"), usedOf("tokens-1h")];
      assert.ok(Math.abs(output - emitted) <= emitted * 0.05, `${output} settled, ${emitted} emitted`);
      assert.ok(total > output, "the prompt was sent, too");
      assert.equal(usedOf("requests-1h"), 1);
    });
  }

  test("an error inside a stream is passed on and counted (S4)", async () => {
    const failed = await under.metric("sluice_calls_failed_total");
    under.provider.switches.set({ midStreamError: 3 });
    const { status, body } = await rawCall(under.url, {
      path: "/v1/messages",
      headers: HEADERS,
      body: JSON.stringify({
        model: "claude-sonnet-5",
        max_tokens: 50,
        stream: true,
        messages: [{ role: "user", content: "hi" }],
      }),
    });
    assert.equal(status, 200);
    assert.match(body.toString(), /overloaded_error/);
    assert.equal(await under.metric("sluice_calls_failed_total"), failed + 1);
    await untilNothingIsHeld(under);
  });

  test("a client that goes away stops the provider, and pays for what was emitted (S2)", async () => {
    const before = await untilNothingIsHeld(under);
    under.provider.switches.set({ chunkIntervalMs: 2, outputTokens: 2_000 });
    let words = 0;
    const sent = httpRequest(`${under.url}/v1/chat/completions`, { method: "POST", headers: HEADERS });
    sent.on("error", () => {});
    sent.end(chat({ stream: true, max_tokens: 2_000 }));
    const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream & { destroy(): void }];
    let text = "";
    for await (const chunk of answer) {
      text += String(chunk);
      words = text.match(/"content":"[^"]+"/g)?.length ?? 0;
      if (words >= 300) break;
    }
    sent.destroy();
    const after = await untilNothingIsHeld(under);
    const settled = after["output_tokens-1h"].used - before["output_tokens-1h"].used;
    // A word is a token here. Some more were under way when the client went.
    assert.ok(
      settled >= words * 0.95 && settled <= words * 1.05 + 40,
      `${settled} settled, ${words} received`,
    );
    assert.equal(under.provider.requests.at(-1)?.end, "closed");
  });

  test("a client that stops reading behind the last word pays what the provider says of it, hidden reasoning included (S2)", async (t) => {
    const chunk = (rest: object) =>
      `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "m", ...rest })}\n\n`;
    const usage = { prompt_tokens: 7, completion_tokens: 5_000, total_tokens: 5_007 };
    const source = createHttpServer((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(chunk({ choices: [{ index: 0, delta: { content: "Yes." }, finish_reason: null }] }));
      response.write(chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }));
      setTimeout(() => response.end(`${chunk({ choices: [], usage })}data: [DONE]\n\n`), 200);
    }).listen(0, "127.0.0.1");
    t.after(() => source.close());
    await once(source, "listening");
    const { port } = source.address() as AddressInfo;
    const thinking = await startGatewayUnderTest({
      yaml: `${yaml("abort")}
providers: { openai: { base_url: "http://127.0.0.1:${port}", accounts: [{ name: main, key: k }] } }`,
    });
    t.after(() => thinking.close());
    const sent = httpRequest(`${thinking.url}/v1/chat/completions`, { method: "POST", headers: HEADERS });
    sent.on("error", () => {});
    sent.end(chat({ stream: true, max_tokens: 10_000 }));
    const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream];
    let text = "";
    for await (const piece of answer) {
      text += String(piece);
      if (text.includes('"finish_reason":"stop"')) break;
    }
    sent.destroy();
    assert.equal((await untilNothingIsHeld(thinking))["output_tokens-1h"].used, 5_000);
  });

  test("a client that does not wait for a whole answer pays what such calls use: what was held (S2)", async () => {
    const before = await untilNothingIsHeld(under);
    under.provider.switches.set({ latencyMs: 500 });
    const { requests } = under.provider.stats;
    const sent = httpRequest(`${under.url}/v1/chat/completions`, { method: "POST", headers: HEADERS });
    sent.on("error", () => {});
    sent.end(chat({ max_tokens: 150 }));
    await until(() => under.provider.stats.requests > requests);
    const { held } = (await books(under))["output_tokens-1h"];
    sent.destroy();
    const after = await untilNothingIsHeld(under);
    assert.ok(held > 0 && held <= 150, `${held} held`);
    assert.equal(after["output_tokens-1h"].used - before["output_tokens-1h"].used, held);
  });

  test("a reader that does not read holds the provider up instead of filling memory (S3)", async (t) => {
    const megabyte = Buffer.alloc(1 << 20, "x");
    let taken = 0;
    const source = createHttpServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const fill = () => {
        while (taken < 300) {
          taken += 1;
          if (!response.write(megabyte)) {
            response.once("drain", fill);
            return;
          }
        }
        response.end();
      };
      fill();
    }).listen(0, "127.0.0.1");
    t.after(() => {
      source.closeAllConnections();
      source.close();
    });
    await once(source, "listening");
    const { port } = source.address() as AddressInfo;
    const slow = await startGatewayUnderTest({
      yaml: `${yaml("abort").replace("provider_timeout: 1s", "provider_timeout: 60s")}
providers: { openai: { base_url: "http://127.0.0.1:${port}", accounts: [{ name: main, key: k }] } }`,
    });
    t.after(() => slow.close());
    const { hostname, port: gatewayPort } = new URL(slow.url);
    const sent = httpRequest({ hostname, port: gatewayPort, path: "/v1/files", headers: HEADERS });
    sent.end();
    const [answer] = (await once(sent, "response")) as [
      NodeJS.ReadableStream & { pause(): void; destroy(): void },
    ];
    answer.pause();
    // Nothing moves any more when the same amount has been taken for a while.
    for (let seen = -1, same = 0; same < 200; same = taken === seen ? same + 1 : 0, seen = taken) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.ok(taken < 48, `${taken} MB taken from the provider for a reader of nothing`);
    sent.destroy();
  });
});

describe("when the client goes and on_disconnect is drain", () => {
  test("the answer is read to its end, and settled to the provider's own usage (S2)", async (t) => {
    const under = await startGatewayUnderTest({ yaml: yaml("drain") });
    t.after(() => under.close());
    under.provider.switches.set({ chunkIntervalMs: 2, outputTokens: 150 });
    const sent = httpRequest(`${under.url}/v1/chat/completions`, { method: "POST", headers: HEADERS });
    sent.on("error", () => {});
    sent.end(chat({ stream: true }));
    const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream];
    await once(answer, "data");
    sent.destroy();
    const after = await untilNothingIsHeld(under);
    assert.equal(after["output_tokens-1h"].used, 150);
    assert.equal(under.provider.requests.at(-1)?.end, "finished");
  });
});

test("an answer that nobody reads is read on for a bounded time, then cut and settled (S2, X3)", async (t) => {
  const under = await startGatewayUnderTest({
    yaml: yaml("drain").replace("provider_timeout: 1s", "provider_timeout: 60s"),
    bounds: { disconnectDrainMsMax: 100 },
  });
  t.after(() => under.close());
  under.provider.switches.set({ chunkIntervalMs: 2, outputTokens: 10_000 });
  const sent = httpRequest(`${under.url}/v1/chat/completions`, { method: "POST", headers: HEADERS });
  sent.on("error", () => {});
  sent.end(chat({ stream: true, max_tokens: 10_000 }));
  const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream];
  await once(answer, "data");
  sent.destroy();
  await until(() => under.provider.requests.at(-1)?.end === "closed", 5_000);
  const { chunks } = under.provider.requests.at(-1)?.sent ?? { chunks: 0 };
  const { used } = (await untilNothingIsHeld(under))["output_tokens-1h"];
  // A chunk is a word and a token; the last ones were under way.
  assert.ok(used > 0 && used <= chunks && used >= chunks * 0.95 - 40, `${used} settled, ${chunks} sent`);
});

describe("when the provider is not there", () => {
  test("a refused connection is a 502, and costs nothing (S2)", async (t) => {
    // A port that was free a moment ago.
    const server = createServer((socket: Socket) => socket.destroy()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const under = await startGatewayUnderTest({
      yaml: `${yaml("abort")}\nproviders: { openai: { base_url: "http://127.0.0.1:${port}", accounts: [{ name: main, key: k }] } }`,
    });
    t.after(() => under.close());
    const { status, body } = await rawCall(under.url, {
      path: "/v1/chat/completions",
      headers: HEADERS,
      body: chat({}),
    });
    assert.equal(status, 502);
    assert.match(body.toString(), /refused/);
    const now = await untilNothingIsHeld(under);
    assert.equal(now["requests-1h"].used, 0);
  });

  test("a connection that is never accepted is a 502 after the time for connecting, and costs nothing (S2)", async (t) => {
    // A process that listens and sleeps: the system accepts a few for it, and then lets nobody in.
    const listen =
      'require("net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () { console.log(this.address().port); });';
    const asleep = spawn(process.execPath, ["-e", listen], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => asleep.kill("SIGKILL"));
    const [line] = (await once(asleep.stdout, "data")) as [Buffer];
    const port = Number(line.toString());
    asleep.kill("SIGSTOP");
    const waiting: Socket[] = [];
    t.after(() => {
      for (const socket of waiting) socket.destroy();
    });
    for (let isFull = false; !isFull; ) {
      assert.ok(waiting.length < 20, "the system takes any number");
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => {});
      waiting.push(socket);
      isFull = await once(socket, "connect", { signal: AbortSignal.timeout(100) }).then(
        () => false,
        () => true,
      );
    }
    const under = await startGatewayUnderTest({
      yaml: `${yaml("abort").replace("provider_timeout: 1s", "provider_timeout: 60s")}
providers: { openai: { base_url: "http://127.0.0.1:${port}", accounts: [{ name: main, key: k }] } }`,
      bounds: { connectTimeoutMs: 150 },
    });
    t.after(() => under.close());
    const started = performance.now();
    const { status } = await rawCall(under.url, {
      path: "/v1/chat/completions",
      headers: HEADERS,
      body: chat({}),
    });
    const tookMs = performance.now() - started;
    assert.equal(status, 502);
    assert.ok(tookMs >= 140 && tookMs < 4_000, `after ${tookMs} ms`);
    assert.equal((await untilNothingIsHeld(under))["requests-1h"].used, 0);
  });
});
