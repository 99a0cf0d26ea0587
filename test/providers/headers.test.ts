import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeaderLimit } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import { durationText } from "../../src/providers/openai/headers.ts";

const NOW_MS = Date.UTC(2026, 0, 15, 12, 0, 0, 1);

function limit(
  meter: HeaderLimit["meter"],
  amount: number,
  remaining: number,
  fullInMs: number,
): HeaderLimit {
  return {
    name: `${meter}-${amount}`,
    meter,
    limit: amount,
    windowSeconds: 60,
    reading: { used: amount - remaining, held: 0, remaining, moreInMs: 1, fullInMs },
  };
}

const pairs = (headers: readonly string[]) =>
  Object.fromEntries(headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]]] : [])));

const LIMITS = [
  limit("requests", 10, 9, 6_000),
  limit("requests", 100, 20, 360_000),
  limit("tokens", 1000, -50, 84),
  limit("cost", 5, 5, 0),
  limit("concurrency", 8, 0, 0),
];

test("openai limitHeaders says the tightest limit of each meter, never less than nothing", () => {
  assert.deepEqual(pairs(openaiFormat.limitHeaders(LIMITS, NOW_MS)), {
    "x-ratelimit-limit-requests": "100",
    "x-ratelimit-remaining-requests": "20",
    "x-ratelimit-reset-requests": "6m0s",
    "x-ratelimit-limit-tokens": "1000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "84ms",
  });
  assert.deepEqual(openaiFormat.limitHeaders([], NOW_MS), []);
  const outputOnly = pairs(openaiFormat.limitHeaders([limit("output_tokens", 50, 5, 0)], NOW_MS));
  assert.equal(outputOnly["x-ratelimit-remaining-tokens"], "5");
});

test("anthropic limitHeaders says when all is there again, rounded up to a second", () => {
  const headers = pairs(
    anthropicFormat.limitHeaders([...LIMITS, limit("input_tokens", 7, 3.9, 1500)], NOW_MS),
  );
  assert.deepEqual(headers, {
    "anthropic-ratelimit-requests-limit": "100",
    "anthropic-ratelimit-requests-remaining": "20",
    "anthropic-ratelimit-requests-reset": "2026-01-15T12:06:01Z",
    "anthropic-ratelimit-tokens-limit": "1000",
    "anthropic-ratelimit-tokens-remaining": "0",
    "anthropic-ratelimit-tokens-reset": "2026-01-15T12:00:01Z",
    "anthropic-ratelimit-input-tokens-limit": "7",
    "anthropic-ratelimit-input-tokens-remaining": "3",
    "anthropic-ratelimit-input-tokens-reset": "2026-01-15T12:00:02Z",
  });
});

test("durationText writes durations as OpenAI does", () => {
  const cases = [
    [0, "0s"],
    [0.2, "1ms"],
    [84, "84ms"],
    [1000, "1s"],
    [1500, "1.5s"],
    [360_000, "6m0s"],
    [3_723_500, "1h2m3.5s"],
    [86_400_000, "24h0m0s"],
    [-5, "0s"],
  ] as const;
  for (const [ms, text] of cases) assert.equal(durationText(ms), text);
});

test("hidesHeader hides the provider's limits and whose account it is, never a request id (X1)", () => {
  const hiddenByBoth = [
    "x-ratelimit-limit-requests",
    "X-RateLimit-Reset-Project-Tokens",
    "ratelimit",
    "set-cookie",
    "alt-svc",
  ];
  const shownByBoth = [
    "x-request-id",
    "request-id",
    "retry-after",
    "x-should-retry",
    "content-type",
    "cf-ray",
    "openai-processing-ms",
  ];
  for (const format of [openaiFormat, anthropicFormat]) {
    for (const name of hiddenByBoth) assert.equal(format.hidesHeader(name), true, name);
    for (const name of shownByBoth) assert.equal(format.hidesHeader(name), false, name);
  }
  for (const name of ["openai-organization", "openai-project"])
    assert.equal(openaiFormat.hidesHeader(name), true);
  for (const name of [
    "anthropic-organization-id",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-priority-input-tokens-limit",
  ]) {
    assert.equal(anthropicFormat.hidesHeader(name), true);
  }
});

test("authHeader carries the account's key where the provider looks for it (X1)", () => {
  assert.deepEqual(openaiFormat.authHeader("sk-1"), ["authorization", "Bearer sk-1"]);
  assert.deepEqual(anthropicFormat.authHeader("sk-2"), ["x-api-key", "sk-2"]);
});
