import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { after, beforeEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Agent, request } from "undici";
import { eventsOf } from "../../src/replay-provider/chunking.ts";
import type { Recording } from "../../src/replay-provider/recording.ts";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import type { Switches } from "../../src/replay-provider/switches.ts";
import { fixtureRecordings } from "../support/recordings.ts";

const recordings = fixtureRecordings();
const streams = recordings.filter(({ stream, status }) => stream && status === 200);
const provider = await startReplayProvider({ recordings });
const agent = new Agent();
after(async () => {
  await agent.destroy();
  await provider.close();
});
beforeEach(() => provider.switches.reset());

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const CHAT_PATH = "/v1/chat/completions";
const MESSAGES_PATH = "/v1/messages";

function ask(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) {
  return request(`${provider.url}${path}`, {
    method: "POST",
    headers: { authorization: "Bearer test", ...headers },
    body: JSON.stringify(body),
    dispatcher: agent,
  });
}

const replay = ({ id, path }: Recording, headers: Readonly<Record<string, string>> = {}) =>
  ask(path, CHAT, { "x-replay-id": id, ...headers });

/** The body as it came, and whether it was complete. */
async function receive(answer: Awaited<ReturnType<typeof ask>>) {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of answer.body) chunks.push(chunk as Buffer);
  } catch {
    return { bytes: Buffer.concat(chunks), isComplete: false };
  }
  return { bytes: Buffer.concat(chunks), isComplete: true };
}

test("deliver re-chunks a stream without changing a byte", async () => {
  for (const recording of streams)
    for (const switches of [
      { "x-replay-chunk-bytes": "event" },
      { "x-replay-chunk-bytes": "7" },
      { "x-replay-chunk-bytes": "random", "x-replay-seed": "42" },
    ] as const) {
      const { bytes, isComplete } = await receive(await replay(recording, switches));
      assert.ok(isComplete);
      assert.equal(bytes.toString(), recording.responseBody, recording.id);
    }
});

test("deliver paces a stream one event a chunk", async () => {
  const recording = streams.find(({ responseBody }) => eventsOf(Buffer.from(responseBody)).length < 30)!;
  const events = eventsOf(Buffer.from(recording.responseBody));
  provider.switches.set({ chunkIntervalMs: 5 });
  const startedAtMs = performance.now();
  const { bytes } = await receive(await replay(recording));
  assert.equal(bytes.toString(), recording.responseBody);
  // A timer may fire up to a millisecond early by the other clock.
  assert.ok(performance.now() - startedAtMs >= (events.length - 1) * 4);
  const logged = provider.requests.at(-1)!;
  assert.deepEqual(logged.sent, { bytes: bytes.length, chunks: events.length });
});

test("deliver cuts the connection after as many bytes or chunks as told", async () => {
  for (const recording of streams.slice(0, 8)) {
    const whole = Buffer.from(recording.responseBody);
    for (const count of [0, 1, 100, whole.length - 1]) {
      const cut = await receive(await replay(recording, { "x-replay-cut-after-bytes": String(count) }));
      assert.equal(cut.isComplete, false);
      assert.ok(cut.bytes.equals(whole.subarray(0, count)), `${recording.id} ${count}`);
      assert.equal(provider.requests.at(-1)!.end, "cut");
    }
    const events = eventsOf(whole);
    const cut = await receive(await replay(recording, { "x-replay-cut-after-chunks": "2" }));
    assert.equal(cut.isComplete, false);
    assert.ok(cut.bytes.equals(Buffer.concat(events.slice(0, 2))));
  }
  const json = recordings.find(({ stream, status }) => !stream && status === 200)!;
  const cut = await receive(await replay(json, { "x-replay-cut-after-bytes": "10" }));
  assert.deepEqual([cut.isComplete, cut.bytes.toString()], [false, json.responseBody.slice(0, 10)]);
});

test("deliver puts the provider's own error event into a stream", async () => {
  for (const [path, last] of [
    [CHAT_PATH, /^data: \{"error":\{"message":"The server had an error/],
    [MESSAGES_PATH, /^event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error"/],
    ["/v1/responses", /^event: error\ndata: \{"type":"error","code":"server_error"/],
  ] as const) {
    const answer = await ask(
      path,
      { ...CHAT, input: "Hello", max_tokens: 30, stream: true },
      {
        "x-replay-mid-stream-error": "3",
      },
    );
    const { bytes, isComplete } = await receive(answer);
    assert.deepEqual([answer.statusCode, isComplete], [200, true]);
    const events = eventsOf(bytes);
    assert.equal(events.length, 4);
    assert.match(events[3]!.toString(), last);
  }
});

test("deliver stalls with the connection open until the client goes, and tells what was sent", async () => {
  const body = JSON.stringify({ ...CHAT, stream: true });
  const client = httpRequest(`${provider.url}${CHAT_PATH}`, {
    method: "POST",
    headers: { authorization: "Bearer test", "x-replay-stall-after-chunks": "2" },
  });
  client.end(body);
  const [answer] = await once(client, "response");
  await once(answer, "data");
  const logged = provider.requests.at(-1)!;
  assert.equal(logged.end, undefined);
  const { closedByClient } = provider.stats;
  client.on("error", () => {});
  client.destroy();
  // Any other request comes back after the server has seen the first one close.
  while (provider.stats.closedByClient === closedByClient) await receive(await ask(CHAT_PATH, CHAT));
  assert.equal(logged.end, "closed");
  assert.ok(logged.sent.chunks <= 2);
});

test("ReplayProvider answers garbage, resets and hangs as told", async () => {
  for (const switches of [{ garbage: true }, { resetOnConnect: true }] satisfies Switches[]) {
    provider.switches.set(switches);
    await assert.rejects(ask(CHAT_PATH, CHAT));
    provider.switches.reset();
  }
  await assert.rejects(ask(CHAT_PATH, CHAT, { "x-replay-reset-on-connect": "true" }), { code: "ECONNRESET" });
  const signal = AbortSignal.timeout(50);
  provider.switches.set({ hang: true });
  const hung = request(`${provider.url}${CHAT_PATH}`, {
    method: "POST",
    body: "{}",
    dispatcher: agent,
    signal,
  });
  await assert.rejects(hung, { name: "TimeoutError" });
});

test("ReplayProvider close ends what hangs and gives up the port", async () => {
  const own = await startReplayProvider({ switches: { hang: true } });
  const socket = connect(own.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write("POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  while (own.stats.open === 0) await setImmediate();
  await own.close();
  await closed;
  await own.close();
  const refused = connect(own.port, "127.0.0.1");
  const [error] = await once(refused, "error");
  assert.equal(error.code, "ECONNREFUSED");
});
