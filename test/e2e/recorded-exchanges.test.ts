import assert from "node:assert/strict";
import { Agent } from "node:http";
import { after, before, describe, test } from "node:test";
import type { Recording } from "../../src/replay-provider/recording.ts";
import { rawCall } from "../support/http-client.ts";
import { allRecordedRows, allRecordings } from "../support/recordings.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

interface Amounts {
  readonly input: number;
  readonly output: number;
}

const count = (value: unknown): number => (typeof value === "number" ? value : 0);

/** A provider's usage object as all of its input and all of its output. */
function amountsOf(usage: unknown): Amounts | undefined {
  if (typeof usage !== "object" || usage === null) return undefined;
  const fields = usage as Record<string, unknown>;
  const cached = count(fields.cache_creation_input_tokens) + count(fields.cache_read_input_tokens);
  return {
    input: count(fields.prompt_tokens ?? fields.input_tokens) + cached,
    output: count(fields.completion_tokens ?? fields.output_tokens),
  };
}

const METERED = /^\/v1\/(chat\/completions|responses|embeddings|completions|messages)(\?|$)/;

describe("every recorded exchange through the gateway", () => {
  const recordings = allRecordings();
  const rows = allRecordedRows();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let under: GatewayUnderTest;
  before(async () => {
    under = await startGatewayUnderTest({ yaml: PLANS_AND_KEYS, recordings });
  });
  after(async () => {
    agent.destroy();
    await under.close();
  });

  const used = async (): Promise<Amounts> => {
    const { body } = await rawCall(under.url, {
      method: "GET",
      path: "/sluice/v1/limits",
      headers: { "x-api-key": "key-of-carol" },
      agent,
    });
    const { limits } = JSON.parse(body.toString()) as {
      limits: { meter: string; used: number; held: number }[];
    };
    for (const { meter, held } of limits) assert.equal(held, 0, `${meter} still held`);
    const of = (meter: string) => limits.find((limit) => limit.meter === meter)?.used ?? 0;
    return { input: of("input_tokens"), output: of("output_tokens") };
  };

  const call = (recording: Recording, prefix: string, headers: Readonly<Record<string, string>>) => {
    const { requestBody } = recording;
    const isText = typeof requestBody === "string";
    const body =
      requestBody === "" || requestBody === undefined
        ? undefined
        : isText
          ? requestBody
          : JSON.stringify(requestBody);
    const sent = recording.method === "GET" || body === undefined ? {} : { body };
    return rawCall(under.url, {
      method: recording.method,
      path: `${prefix}${recording.path}`,
      headers: {
        authorization: "Bearer key-of-carol",
        ...("body" in sent
          ? {
              "content-type": isText ? "text/plain" : "application/json",
              "content-length": String(Buffer.byteLength(body ?? "")),
            }
          : {}),
        "x-replay-id": recording.id,
        ...headers,
      },
      agent,
      ...sent,
    });
  };

  test("comes out as the bytes that were recorded, and is settled to the usage that was recorded (S1)", async () => {
    let settled = 0;
    let before = await used();
    for (const [index, recording] of recordings.entries()) {
      const row = rows[index];
      const isAnthropic = row.provider === "anthropic";
      const answer = await call(recording, isAnthropic ? "/anthropic" : "/openai", {
        "x-replay-chunk-bytes": index % 3 === 0 ? "event" : "random",
        "x-replay-seed": String(index),
      });
      const now = await used();
      const delta = { input: now.input - before.input, output: now.output - before.output };
      before = now;
      // Refused before it is sent: the body is not one that the endpoint takes, so there is nothing to compare.
      if (answer.headers["x-sluice-account"] === undefined) {
        assert.equal(answer.status, 400, `${recording.id}: ${answer.body}`);
        continue;
      }
      assert.equal(answer.status, recording.status, recording.id);
      assert.equal(answer.body.toString(), recording.responseBody, `${recording.id} ${recording.path}`);
      const expected = amountsOf(recording.usage);
      if (expected === undefined || recording.status >= 400 || !METERED.test(recording.path)) continue;
      assert.deepEqual(delta, expected, `${recording.id} ${recording.path}`);
      settled += 1;
    }
    assert.ok(settled > recordings.length / 3, `${settled} of ${recordings.length} compared`);
  });
});
