import assert from "node:assert/strict";
import { Agent } from "node:http";
import { after, before, describe, test } from "node:test";
import type { Endpoint } from "../../src/core/policy/endpoint.ts";
import { recordedAnswer } from "../../src/replay-provider/recorded-answer.ts";
import { isObject, type Recording } from "../../src/replay-provider/recording.ts";
import { type RawAnswer, rawCall } from "../support/http-client.ts";
import { settledUse } from "../support/limits-page.ts";
import { allRecordedRows, allRecordings } from "../support/recordings.ts";
import { type GatewayUnderTest, PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";
import { stepsApart } from "../support/steps-apart.ts";

/** Users that call at the same time, each with a key of its own, so that the books can be checked after every call. */
const WORKERS = 8;
/** Answers that are no streams are cut into chunks, too, up to this length: more would only take longer. */
const RECHUNKED_BYTES_MAX = 10_000;
const SEED = Number(process.env.SLUICE_SEED ?? 1);

/** Where hosts have their API: what stands before `/v1` in recorded paths. */
const BASE_PATHS: Readonly<Record<string, string>> = { openrouter: "/api", groq: "/openai" };

const providerYaml = (name: string, format: "openai" | "anthropic") =>
  `  ${name}: { format: ${format}, base_url: "PROVIDER${BASE_PATHS[name] ?? ""}", accounts: [{ name: main, key: provider-secret }] }\n`;

const keysYaml = Array.from(
  { length: WORKERS },
  (_, worker) => `    - { key: key-of-worker-${worker}, user: worker-${worker}, plan: unlimited }\n`,
).join("");

/** How the paths end whose usage Sluice reads, on every host; any other passes through as a request. */
const ENDPOINTS: readonly (readonly [end: RegExp, endpoint: Endpoint])[] = [
  [/^(?!.*\/deployments\/).*\/chat\/completions$/, "chat_completions"],
  [/\/responses$/, "responses"],
  [/^(?!.*\/deployments\/).*\/embeddings$/, "embeddings"],
  [/\/v1\/completions$/, "completions"],
  [/\/v1\/messages$/, "messages"],
];

interface Driven {
  readonly recording: Recording;
  readonly provider: string;
  readonly format: "openai" | "anthropic";
  /** As the client calls it. */
  readonly path: string;
  readonly endpoint: Endpoint | undefined;
}

function drivenRecordings(): readonly Driven[] {
  const rows = allRecordedRows();
  return allRecordings().map((recording, index) => {
    const { provider } = rows[index];
    const format = provider === "anthropic" ? "anthropic" : "openai";
    const base = BASE_PATHS[provider] ?? "";
    const inner = recording.path.startsWith(`${base}/`) ? recording.path.slice(base.length) : recording.path;
    // Every other call to the two main providers takes the path without the provider's name.
    const isBare = index % 2 === 0 && inner.startsWith("/v1/") && /^(openai|anthropic)$/.test(provider);
    const isMessages = inner.startsWith("/v1/messages");
    const path = isBare && isMessages === (format === "anthropic") ? inner : `/${provider}${inner}`;
    const endpoint =
      recording.method === "POST" ? ENDPOINTS.find(([end]) => end.test(inner.split("?")[0]))?.[1] : undefined;
    const isOwnFormat = (endpoint === "messages") === (format === "anthropic");
    return { recording, provider, format, path, endpoint: isOwnFormat ? endpoint : undefined };
  });
}

/** The usage that was recorded, in model tokens; undefined where the provider gave none and the gateway has to count. */
function recordedUsage({ recording, endpoint }: Driven): { input: number; output: number } | undefined {
  const { usage, status, stream, requestBody, responseBody } = recording;
  if (endpoint === undefined || status >= 300) return { input: 0, output: 0 };
  if (!isObject(usage)) {
    const asked = isObject(requestBody) ? { ...requestBody, stream_options: { include_usage: true } } : {};
    // The replay provider adds the chunk that the gateway asks for, where the stream was not cut short by an error.
    const isChat = endpoint === "chat_completions" || endpoint === "completions";
    const isAsked = stream && isChat && responseBody.includes("data: [DONE]");
    if (!isAsked) return undefined;
    const told = recordedAnswer(recording, endpoint, asked).usage;
    return { input: told.inputTokens, output: told.outputTokens };
  }
  return [usage, ...stepsApart(responseBody)].map(countsOf).reduce((sum, { input, output }) => ({
    input: sum.input + input,
    output: sum.output + output,
  }));
}

function countsOf(usage: Readonly<Record<string, unknown>>): { input: number; output: number } {
  const count = (...names: readonly string[]) => {
    for (const name of names) if (typeof usage[name] === "number") return usage[name];
    return 0;
  };
  const cache = count("cache_creation_input_tokens") + count("cache_read_input_tokens");
  return {
    input: count("prompt_tokens", "input_tokens") + cache,
    output: count("completion_tokens", "output_tokens"),
  };
}

function bodyOf({ method, requestBody }: Recording): string | undefined {
  if (method === "GET" || requestBody === undefined || requestBody === null || requestBody === "") return;
  return typeof requestBody === "string" ? requestBody : JSON.stringify(requestBody);
}

const CONNECTION_HEADERS =
  /^(connection|content-length|content-encoding|transfer-encoding|keep-alive|te|trailer|upgrade|proxy-.*)$/;

/** Whose account it is, the account's limits, and what speaks for the provider's origin. */
const HIDDEN =
  /^(set-cookie|alt-svc|strict-transport-security|report-to|nel|openai-(organization|project)|anthropic-(organization-id|(priority|fast)-.*))$/;
/** The gateway has limit headers of its own: their values are not the recorded ones. */
const LIMITS = /^((x-|anthropic-)?ratelimit-.*|ratelimit)$/;

function assertHeaders({ recording }: Driven, answer: RawAnswer): void {
  for (const [name, value] of Object.entries(recording.responseHeaders)) {
    if (CONNECTION_HEADERS.test(name) || LIMITS.test(name)) continue;
    assert.equal(answer.headers[name], HIDDEN.test(name) ? undefined : value.trim(), name);
  }
  for (const name of ["x-sluice-request-id", "ratelimit", "ratelimit-policy"])
    assert.ok(answer.headers[name], name);
  assert.equal(answer.headers["x-sluice-account"], "main");
}

describe("every recorded exchange through the gateway", () => {
  const driven = drivenRecordings();
  let under: GatewayUnderTest;
  before(async () => {
    const names = new Set(["openai", "anthropic", ...driven.map(({ provider }) => provider)]);
    const formats = [...names].map((name) => providerYaml(name, name === "anthropic" ? name : "openai"));
    under = await startGatewayUnderTest({
      yaml: `providers:\n${formats.join("")}${PLANS_AND_KEYS}${keysYaml}`,
      recordings: allRecordings(),
    });
  });
  after(() => under.close());

  const call = ({ recording, format, path }: Driven, index: number, key: string, agent: Agent) =>
    rawCall(under.url, {
      method: recording.method,
      path,
      headers: {
        ...(format === "anthropic" ? { "x-api-key": key } : { authorization: `Bearer ${key}` }),
        ...(format === "anthropic" ? { "anthropic-version": "2023-06-01" } : {}),
        ...(typeof recording.requestBody === "object" ? { "content-type": "application/json" } : {}),
        "x-replay-id": recording.id,
        ...(recording.stream || recording.responseBody.length < RECHUNKED_BYTES_MAX
          ? { "x-replay-chunk-bytes": "random", "x-replay-seed": String(SEED + index) }
          : {}),
      },
      body: bodyOf(recording),
      agent,
    });

  test("forwardCall gives the recorded status, bytes and headers, and settles the recorded usage (S1)", async () => {
    const queue = driven.entries();
    const uncounted: string[] = [];
    const drive = async (worker: number) => {
      const key = `key-of-worker-${worker}`;
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      let before = await settledUse(under.url, key, agent);
      for (const [index, one] of queue) {
        const { recording, path } = one;
        const { method, status, id } = recording;
        const answer = await call(one, index, key, agent);
        const label = `${id} ${method} ${path}`;
        assert.equal(answer.status, status, `${label}: ${answer.body}`);
        assert.ok(answer.body.equals(Buffer.from(recording.responseBody)), `${label}: other bytes`);
        assertHeaders(one, answer);
        const now = await settledUse(under.url, key, agent);
        const used = (meter: string) => now[meter] - before[meter];
        const expected = recordedUsage(one);
        if (expected === undefined) uncounted.push(label);
        else {
          const { input, output } = expected;
          assert.deepEqual([used("input_tokens"), used("output_tokens")], [input, output], label);
        }
        assert.equal(used("tokens"), used("input_tokens") + used("output_tokens"), label);
        assert.equal(used("requests"), 1, label);
        before = now;
      }
      agent.destroy();
    };
    await Promise.all(Array.from({ length: WORKERS }, (_, worker) => drive(worker)));
    assert.ok(uncounted.length * 20 < driven.length, `${uncounted.length} without a recorded usage`);
    const { requests, open, closedByClient } = under.provider.stats;
    assert.deepEqual([requests, open, closedByClient], [driven.length, 0, 0]);
  });
});
