import assert from "node:assert/strict";
import { test } from "node:test";
import { isObject, type Recording } from "../../src/replay-provider/recording.ts";
import { rawCall } from "../support/http-client.ts";
import { limitsPage } from "../support/limits-page.ts";
import { allRecordedRows, allRecordings } from "../support/recordings.ts";
import { startGatewayUnderTest } from "../support/running-gateway.ts";

/** Enough of each kind to see every weight. */
const CALLS_MAX = 150;

const YAML = `
providers:
  openai: { base_url: "PROVIDER", accounts: [{ name: main, key: k }] }
  anthropic: { base_url: "PROVIDER", accounts: [{ name: main, key: k }] }
plans:
  p:
    when_limited: reject
    limits:
      - { name: weighted, meter: tokens, limit: 1000000000, per: day, weights: { input: 1, cached_input: 0.1, output: 4 } }
      - { name: odd, meter: tokens, limit: 1000000000, per: day, weights: { input: 0.333, cached_input: 0, output: 0.001 } }
      - { name: plain, meter: tokens, limit: 1000000000, per: day }
identity: { keys: [{ key: key-of-alice, user: alice }] }
`;

interface Counts {
  readonly fresh: number;
  readonly cached: number;
  readonly output: number;
}

/** The recorded usage, read without the code that is tested: in thousandths nothing is ever rounded but once, up. */
function countsOf(usage: Readonly<Record<string, unknown>>): Counts {
  const number = (from: unknown, name: string) => {
    const value = isObject(from) ? from[name] : undefined;
    return typeof value === "number" ? value : 0;
  };
  const details = isObject(usage.prompt_tokens_details)
    ? usage.prompt_tokens_details
    : usage.input_tokens_details;
  const written = number(usage, "cache_creation_input_tokens");
  const read = number(usage, "cache_read_input_tokens");
  const openai = number(usage, "prompt_tokens") + number(usage, "input_tokens");
  const cached = read + Math.min(number(details, "cached_tokens"), openai);
  return {
    fresh: openai + written + read - cached,
    cached,
    output: number(usage, "completion_tokens") + number(usage, "output_tokens"),
  };
}

const weigh = ({ fresh, cached, output }: Counts, input: number, cachedInput: number, out: number) =>
  Math.ceil((fresh * input + cached * cachedInput + output * out) / 1_000);

function usable(): readonly {
  readonly recording: Recording;
  readonly path: string;
  readonly counts: Counts;
}[] {
  const rows = allRecordedRows();
  const found = allRecordings().flatMap((recording, index) => {
    const { provider } = rows[index];
    const { usage, status, method, path } = recording;
    const isRead = /\/v1\/(chat\/completions|responses|embeddings|messages)$/.test(path.split("?")[0]);
    if (!isRead || method !== "POST" || status >= 300 || !isObject(usage)) return [];
    if (provider !== "openai" && provider !== "anthropic") return [];
    return [{ recording, path: `/${provider}${path}`, counts: countsOf(usage) }];
  });
  // Those with cached input first: there are few.
  return found.sort((a, b) => b.counts.cached - a.counts.cached).slice(0, CALLS_MAX);
}

test("a weighted limit has used the weighted sum of the recorded usage, cached input apart, after every call (L7)", async () => {
  const calls = usable();
  assert.ok(calls.some(({ counts }) => counts.cached > 0) && calls.length >= 20, `${calls.length} calls`);
  const under = await startGatewayUnderTest({ yaml: YAML, recordings: allRecordings() });
  try {
    const expected = [0, 0, 0];
    for (const { recording, path, counts } of calls) {
      const answer = await rawCall(under.url, {
        path,
        headers: {
          authorization: "Bearer key-of-alice",
          "content-type": "application/json",
          "x-replay-id": recording.id,
        },
        body: JSON.stringify(recording.requestBody),
      });
      assert.equal(answer.status, recording.status, `${recording.id}: ${answer.body}`);
      expected[0] += weigh(counts, 1_000, 100, 4_000);
      expected[1] += weigh(counts, 333, 0, 1);
      expected[2] += weigh(counts, 1_000, 1_000, 1_000);
      const page = await limitsPage(under.url, "key-of-alice");
      const label = `${recording.id} ${JSON.stringify(recording.usage)}`;
      assert.deepEqual(
        page.map(({ used }) => used),
        expected,
        label,
      );
      assert.deepEqual(
        page.map(({ held }) => held),
        [0, 0, 0],
        label,
      );
    }
  } finally {
    await under.close();
  }
});
