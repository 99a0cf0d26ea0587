import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Client } from "undici";
import { canonicalJson, withoutIncludeUsage } from "../../src/replay-provider/canonical-json.ts";
import type { Recording } from "../../src/replay-provider/recording.ts";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { allRecordings } from "../support/recordings.ts";

const recordings = allRecordings();
const provider = await startReplayProvider({ recordings, requestsKeptMax: 0 });
const client = new Client(provider.url);
after(async () => {
  await client.close();
  await provider.close();
});

async function replay(recording: Recording, headers: Readonly<Record<string, string>>) {
  const { method, path, requestBody } = recording;
  const body = typeof requestBody === "string" ? requestBody : JSON.stringify(requestBody);
  const hasBody = method !== "GET" && body !== "" && body !== undefined;
  const answer = await client.request({
    method: method as "POST",
    path,
    headers: { authorization: "Bearer test", ...headers },
    ...(hasBody ? { body } : {}),
  });
  return { ...answer, bytes: Buffer.from(await answer.body.arrayBuffer()) };
}

const HOP_BY_HOP =
  /^(connection|content-length|content-encoding|transfer-encoding|keep-alive|te|trailer|upgrade)$/;

test("startReplayProvider serves every recording by id with its status, headers and bytes", async () => {
  for (const recording of recordings) {
    const answer = await replay(recording, { "x-replay-id": recording.id });
    assert.equal(answer.statusCode, recording.status, recording.id);
    assert.ok(answer.bytes.equals(Buffer.from(recording.responseBody)), recording.id);
    // Trailing spaces are no part of a header's value on the wire.
    for (const [name, value] of Object.entries(recording.responseHeaders))
      if (!HOP_BY_HOP.test(name))
        assert.equal(String(answer.headers[name]), value.trim(), `${recording.id} ${name}`);
  }
});

test("startReplayProvider finds a recording by method, path and body, in any order of keys", async () => {
  const keyOf = ({ method, path, requestBody }: Recording) =>
    `${method} ${path} ${canonicalJson(withoutIncludeUsage(requestBody || null))}`;
  const answers = new Map<string, Set<string>>();
  for (const recording of recordings) {
    const bodies = answers.get(keyOf(recording)) ?? new Set();
    answers.set(keyOf(recording), bodies.add(recording.responseBody));
  }
  for (const recording of recordings) {
    const answer = await replay({ ...recording, requestBody: reversed(recording.requestBody) }, {});
    assert.ok(answers.get(keyOf(recording))!.has(answer.bytes.toString()), recording.id);
  }
  assert.equal(provider.stats.synthesised, 0);
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}
