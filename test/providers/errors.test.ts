import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { OperationalError, type OperationalErrorCode } from "../../src/core/operational-error.ts";
import type { HttpAnswer, Refusal } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

const retryable: Refusal = {
  code: "rate_limit_exceeded",
  message: "10 requests a minute: 1 asked, 0 left; it fits in 0.02 s.",
  retryAfterMs: 19.5,
  meter: "requests",
};
const terminal: Refusal = {
  code: "budget_exceeded",
  message: "spent",
  retryAfterMs: undefined,
  meter: "cost",
};
const neverFits: Refusal = {
  ...retryable,
  code: "request_too_large_for_limit",
  retryAfterMs: undefined,
  meter: "tokens",
};

/** A `fetch` that gives this answer, and how often it was asked. */
function answering(answer: HttpAnswer) {
  const state = { calls: 0 };
  const headers = answer.headers.flatMap((name, index) =>
    index % 2 === 0 ? [[name, answer.headers[index + 1]!] as [string, string]] : [],
  );
  const fetch = async () => {
    state.calls++;
    return new Response(answer.body.toString(), { status: answer.status, headers });
  };
  return { fetch, state };
}

async function openaiError(answer: HttpAnswer) {
  const { fetch, state } = answering(answer);
  const client = new OpenAI({ apiKey: "x", fetch, maxRetries: 2 });
  const error = await client.chat.completions.create({ model: "m", messages: [] }).then(
    () => assert.fail("no error"),
    (thrown: unknown) => thrown,
  );
  return { error, calls: state.calls };
}

async function anthropicError(answer: HttpAnswer) {
  const { fetch, state } = answering(answer);
  const client = new Anthropic({ apiKey: "x", fetch, maxRetries: 2 });
  const error = await client.messages.create({ model: "m", max_tokens: 1, messages: [] }).then(
    () => assert.fail("no error"),
    (thrown: unknown) => thrown,
  );
  return { error, calls: state.calls };
}

describe("refusal", () => {
  test("becomes the SDK's RateLimitError, tried again where that makes sense", async () => {
    const openai = await openaiError(openaiFormat.refusal(retryable, "req-1"));
    assert.ok(openai.error instanceof OpenAI.RateLimitError);
    assert.equal(openai.error.code, "rate_limit_exceeded");
    assert.equal(openai.error.type, "requests");
    assert.equal(openai.error.requestID, "req-1");
    assert.ok(openai.error.message.includes(retryable.message));
    assert.equal(openai.calls, 3);
    const anthropic = await anthropicError(anthropicFormat.refusal(retryable, "req-2"));
    assert.ok(anthropic.error instanceof Anthropic.RateLimitError);
    assert.equal(anthropic.error.requestID, "req-2");
    assert.deepEqual(anthropic.error.error, {
      type: "error",
      error: { type: "rate_limit_error", message: retryable.message, code: "rate_limit_exceeded" },
      request_id: "req-2",
    });
    assert.equal(anthropic.calls, 3);
  });

  test("is never tried again by an SDK when it is final (L4)", async () => {
    for (const refused of [terminal, neverFits, { ...terminal, retryAfterMs: 5 }]) {
      const openai = await openaiError(openaiFormat.refusal(refused, "req-1"));
      assert.ok(openai.error instanceof OpenAI.RateLimitError);
      assert.equal(openai.error.code, refused.code);
      assert.equal(openai.calls, 1);
      const anthropic = await anthropicError(anthropicFormat.refusal(refused, "req-1"));
      assert.ok(anthropic.error instanceof Anthropic.RateLimitError);
      assert.equal(anthropic.calls, 1);
    }
  });

  test("is not waited for by an SDK for longer than a minute, and says all the same when to come back (L3)", async () => {
    const later = { ...retryable, retryAfterMs: 60_001 };
    for (const format of [openaiFormat, anthropicFormat]) {
      const { headers } = format.refusal(later, "r");
      assert.equal(headers[headers.indexOf("retry-after") + 1], "61");
      assert.equal(headers[headers.indexOf("x-should-retry") + 1], "false");
      const soon = format.refusal({ ...retryable, retryAfterMs: 60_000 }, "r");
      assert.equal(soon.headers.includes("x-should-retry"), false);
    }
    const openai = await openaiError(openaiFormat.refusal(later, "req-1"));
    assert.ok(openai.error instanceof OpenAI.RateLimitError);
    assert.equal(openai.error.code, later.code);
    assert.equal(openai.calls, 1);
    const anthropic = await anthropicError(anthropicFormat.refusal(later, "req-1"));
    assert.ok(anthropic.error instanceof Anthropic.RateLimitError);
    assert.equal(anthropic.calls, 1);
  });

  test("says the wait in whole seconds, rounded up, and in milliseconds (L3)", () => {
    for (const format of [openaiFormat, anthropicFormat]) {
      const { status, headers } = format.refusal({ ...retryable, retryAfterMs: 1000.2 }, "r");
      assert.equal(status, 429);
      assert.equal(headers[headers.indexOf("retry-after") + 1], "2");
      assert.equal(headers[headers.indexOf("retry-after-ms") + 1], "1001");
      assert.equal(headers.includes("x-should-retry"), false);
      assert.equal(format.refusal(neverFits, "r").headers.includes("retry-after"), false);
    }
  });
});

describe("failure", () => {
  const cases: readonly (readonly [OperationalErrorCode, number, string, string])[] = [
    ["store_unavailable", 503, "server_error", "api_error"],
    ["provider_unavailable", 502, "server_error", "api_error"],
    ["invalid_key", 401, "invalid_request_error", "authentication_error"],
    ["invalid_request", 400, "invalid_request_error", "invalid_request_error"],
    ["body_too_large", 413, "invalid_request_error", "request_too_large"],
    ["invalid_configuration", 500, "server_error", "api_error"],
  ];

  test("has the provider's own shape, status and type, and our code", () => {
    for (const [code, status, openaiType, anthropicType] of cases) {
      const error = new OperationalError(code, "why");
      const openai = openaiFormat.failure(error, "r");
      assert.equal(openai.status, status);
      const body = JSON.parse(openai.body.toString());
      assert.deepEqual({ ...body.error, message: "" }, { message: "", type: openaiType, param: null, code });
      const anthropic = anthropicFormat.failure(error, "r");
      assert.equal(anthropic.status, status);
      const { type, error: inner, request_id } = JSON.parse(anthropic.body.toString());
      assert.deepEqual([type, inner.type, inner.code, request_id], ["error", anthropicType, code, "r"]);
    }
  });

  test("is raised as the SDK's own class of error", async () => {
    const invalid = new OperationalError("invalid_key", "no such key");
    assert.ok(
      (await openaiError(openaiFormat.failure(invalid, "r"))).error instanceof OpenAI.AuthenticationError,
    );
    assert.ok(
      (await anthropicError(anthropicFormat.failure(invalid, "r"))).error instanceof
        Anthropic.AuthenticationError,
    );
    const bad = new OperationalError("invalid_request", "n");
    assert.ok((await openaiError(openaiFormat.failure(bad, "r"))).error instanceof OpenAI.BadRequestError);
    assert.ok(
      (await anthropicError(anthropicFormat.failure(bad, "r"))).error instanceof Anthropic.BadRequestError,
    );
  });

  test("does not tell a client where the store is, or what is wrong with the configuration (X1)", () => {
    for (const code of ["store_unavailable", "invalid_configuration"] as const) {
      const error = new OperationalError(code, "redis://:secret@10.0.0.3:6379 refused");
      for (const format of [openaiFormat, anthropicFormat]) {
        assert.ok(!format.failure(error, "r").body.includes("secret"));
      }
    }
  });
});
