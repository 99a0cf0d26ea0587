import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EnforcedLimits, type EnforcedMeter } from "../../src/replay-provider/enforced-limits.ts";
import { LevelBucket } from "../../src/replay-provider/level-bucket.ts";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { formatDuration } from "../../src/replay-provider/reset-time.ts";
import type { WireFormat } from "../../src/replay-provider/wire-format.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { runs } from "../support/property.ts";

const headersOf = (raw: readonly string[]) =>
  new Map(raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1]!] as const] : [])));

const bodyOf = (characters: number) => ({
  model: "m",
  messages: [{ role: "user", content: "x".repeat(characters) }],
});

/** Tokens that the body is charged with on OpenAI: ceil((4 + length) ÷ 4) + 1. */
const charactersFor = (tokens: number) => (tokens - 2) * 4;

const calls = fc.array(
  fc.record({ afterMs: fc.nat({ max: 400 }), tokens: fc.integer({ min: 2, max: 80 }) }),
  { maxLength: 60 },
);

test("EnforcedLimits grants no more than a full bucket and its refill, and charges a refused call nothing", () => {
  const property = fc.property(
    calls,
    fc.integer({ min: 20, max: 200 }),
    fc.constantFrom<EnforcedMeter>("tokens", "requests"),
    (history, limit, meter) => {
      const windowMs = 1000;
      const clock = new ManualClock(5000);
      const limits = new EnforcedLimits([{ meter, limit, windowMs }], clock);
      const granted: { readonly atMs: number; readonly amount: number }[] = [];
      for (const { afterMs, tokens } of history) {
        clock.advance(afterMs);
        const request = {
          key: "k",
          format: "openai",
          model: "m",
          body: bodyOf(charactersFor(tokens)),
          usage: { inputTokens: tokens, outputTokens: 0 },
        } as const;
        const amount = meter === "requests" ? 1 : tokens;
        if (limits.admit(request).kind === "admitted") granted.push({ atMs: clock.nowMs(), amount });
        else {
          // Neither refused for nothing: a bucket that lost only what was granted lacks it.
          const bucket = new LevelBucket(limit, windowMs, 5000);
          for (const grant of granted) bucket.take(grant.amount, grant.atMs);
          assert.ok(bucket.levelAt(clock.nowMs()) < amount);
        }
      }
      for (const [first, { atMs }] of granted.entries()) {
        let sum = 0;
        for (const grant of granted.slice(first)) {
          sum += grant.amount;
          assert.ok(sum <= limit + ((grant.atMs - atMs) * limit) / windowMs + 1e-6);
        }
      }
    },
  );
  fc.assert(property, runs(300));
});

test("EnforcedLimits tells a wait after which the call is admitted, and not much earlier", () => {
  const property = fc.property(
    calls,
    fc.integer({ min: 80, max: 300 }),
    fc.constantFrom<WireFormat>("openai", "anthropic"),
    (history, limit, format) => {
      const windowMs = 60_000;
      const meter = format === "openai" ? "tokens" : "input_tokens";
      const clock = new ManualClock(0);
      const limits = new EnforcedLimits([{ meter, limit, windowMs }], clock);
      for (const { afterMs, tokens } of history) {
        clock.advance(afterMs);
        const request = {
          key: "k",
          format,
          model: "m",
          body: bodyOf(charactersFor(tokens)),
          usage: { inputTokens: tokens, outputTokens: 0 },
        } as const;
        const admission = limits.admit(request);
        if (admission.kind === "admitted") continue;
        const headers = headersOf(admission.answer.headers);
        const seconds = Number(headers.get("retry-after"));
        const waitMs = format === "openai" ? Number(headers.get("retry-after-ms")) : seconds * 1000;
        assert.ok(Math.ceil(waitMs / 1000) === seconds && waitMs > 0);
        // Anthropic says whole seconds; OpenAI's numbers are whole tokens, each worth window ÷ limit.
        const toleranceMs = format === "openai" ? windowMs / limit + 1 : 1000;
        if (waitMs > toleranceMs) {
          clock.advance(waitMs - toleranceMs - 1);
          assert.equal(limits.admit(request).kind, "refused");
          clock.advance(toleranceMs + 1);
        } else clock.advance(waitMs);
        assert.equal(limits.admit(request).kind, "admitted");
      }
    },
  );
  fc.assert(property, runs(300));
});

test("EnforcedLimits shows OpenAI's reset as (limit − remaining) ÷ limit × window", () => {
  const clock = new ManualClock(0);
  const limits = new EnforcedLimits(
    [
      { meter: "requests", limit: 500, windowMs: 60_000 },
      { meter: "tokens", limit: 30_000, windowMs: 60_000 },
    ],
    clock,
  );
  const request = {
    key: "k",
    format: "openai",
    model: "gpt-4.1",
    body: bodyOf(charactersFor(28_039)),
    usage: { inputTokens: 1, outputTokens: 1 },
  } as const;
  const first = limits.admit(request);
  assert.equal(first.kind, "admitted");
  assert.deepEqual(Object.fromEntries(headersOf(first.kind === "admitted" ? first.headers : [])), {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "1961",
    "x-ratelimit-reset-tokens": "56.078s",
  });
  const refused = limits.admit({ ...request, body: bodyOf(charactersFor(3906)) });
  assert.equal(refused.kind, "refused");
  // A refusal quoted in public: Limit 30000, Used 28039, Requested 3906. Please try again in 3.89s.
  if (refused.kind === "refused")
    assert.match(
      refused.answer.body.toString(),
      /Rate limit reached for gpt-4\.1 in organization \S+ on tokens per min \(TPM\): Limit 30000, Used 28039, Requested 3906\. Please try again in 3\.89s\./,
    );
  const large = limits.admit({ ...request, body: bodyOf(charactersFor(31_538)) });
  if (large.kind === "refused") {
    assert.match(large.answer.body.toString(), /^\{"error":\{"message":"Request too large for gpt-4\.1/);
    assert.equal(headersOf(large.answer.headers).get("retry-after"), undefined);
  }
  assert.equal(large.kind, "refused");
  clock.advance(3890);
  assert.equal(limits.admit({ ...request, body: bodyOf(charactersFor(3906)) }).kind, "admitted");
});

test("EnforcedLimits refuses Anthropic's calls until the output that was produced is paid off", () => {
  const clock = new ManualClock(0);
  const limits = new EnforcedLimits([{ meter: "output_tokens", limit: 60_000, windowMs: 60_000 }], clock);
  const request = {
    key: "k",
    format: "anthropic",
    model: "claude",
    body: bodyOf(10),
    usage: { inputTokens: 5, outputTokens: 61_500 },
  } as const;
  assert.equal(limits.admit(request).kind, "admitted");
  const refused = limits.admit(request);
  assert.equal(refused.kind, "refused");
  const headers = headersOf(refused.kind === "refused" ? refused.answer.headers : []);
  assert.equal(headers.get("retry-after"), "2");
  assert.equal(headers.get("anthropic-ratelimit-output-tokens-remaining"), "0");
  assert.equal(headers.get("anthropic-ratelimit-output-tokens-reset"), "1970-01-01T00:01:02Z");
  clock.set(1500);
  assert.equal(limits.admit(request).kind, "refused");
  clock.set(1501);
  assert.equal(limits.admit(request).kind, "admitted");
  assert.equal(limits.admit({ ...request, key: "another account" }).kind, "admitted");
});

test("EnforcedLimits charges max_tokens where the documentation's charge is asked for", () => {
  const clock = new ManualClock(0);
  const body = { ...bodyOf(8), max_tokens: 600, n: 2 };
  const usage = { inputTokens: 10, outputTokens: 20 };
  const remaining = (charge: "shown" | "documented" | "actual") => {
    const limits = new EnforcedLimits([{ meter: "tokens", limit: 2000, windowMs: 60_000, charge }], clock);
    const admission = limits.admit({ key: "k", format: "openai", model: "m", body, usage });
    return admission.kind === "admitted"
      ? headersOf(admission.headers).get("x-ratelimit-remaining-tokens")
      : admission.kind;
  };
  assert.deepEqual(
    [remaining("shown"), remaining("documented"), remaining("actual")],
    ["1995", "800", "1970"],
  );
});

test("startReplayProvider refuses with truthful headers and counts its refusals", async (t) => {
  const provider = await startReplayProvider({
    limits: [{ meter: "requests", limit: 3, windowMs: 3_600_000 }],
  });
  t.after(() => provider.close());
  const statuses: number[] = [];
  const remaining: (string | null)[] = [];
  for (let count = 0; count < 5; count++) {
    const answer = await fetch(`${provider.url}/v1/messages`, {
      method: "POST",
      headers: { "x-api-key": "k" },
      body: JSON.stringify({ ...bodyOf(5), max_tokens: 3 }),
    });
    await answer.bytes();
    statuses.push(answer.status);
    remaining.push(answer.headers.get("anthropic-ratelimit-requests-remaining"));
  }
  assert.deepEqual(statuses, [200, 200, 200, 429, 429]);
  assert.deepEqual(remaining, ["2", "1", "0", "0", "0"]);
  const { rateLimited, synthesised, outputTokens } = provider.stats;
  assert.deepEqual(
    { rateLimited, synthesised, outputTokens },
    { rateLimited: 2, synthesised: 3, outputTokens: 9 },
  );
  provider.setLimits([]);
  const free = await fetch(`${provider.url}/v1/models`, { headers: { authorization: "Bearer k" } });
  assert.equal(free.status, 200);
  await free.bytes();
});

test("formatDuration writes durations as OpenAI does", () => {
  const examples = { 84: "84ms", 1000: "1s", 1146: "1.146s", 360000: "6m0s", 3723500: "1h2m3.5s", 0: "0s" };
  for (const [ms, text] of Object.entries(examples)) assert.equal(formatDuration(Number(ms)), text);
});
