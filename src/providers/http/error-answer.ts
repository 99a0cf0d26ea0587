import { OperationalError, type OperationalErrorCode } from "../../core/operational-error.ts";
import type { HttpAnswer, RawHeaders, Refusal, RefusalCode } from "../../ports/provider-format.ts";
import { type JsonObject, parseJsonObject } from "./body-json.ts";

/** The HTTP status of each failure; one table for all wire formats. */
export const FAILURE_STATUS: Readonly<Record<OperationalErrorCode, number>> = {
  store_unavailable: 503,
  provider_unavailable: 502,
  invalid_key: 401,
  invalid_request: 400,
  body_too_large: 413,
  invalid_configuration: 500,
};

/** Refusals that no second try changes. */
const TERMINAL: ReadonlySet<RefusalCode> = new Set(["budget_exceeded", "request_too_large_for_limit"]);

/** What the client is told of a failure. What is wrong with the store or the configuration is for the log. */
export function failureMessage(error: OperationalError): string {
  switch (error.code) {
    case "store_unavailable":
      return "The rate limits cannot be checked at the moment. Please try again.";
    case "invalid_configuration":
      return "The gateway is not configured for this call.";
    case "provider_unavailable":
    case "invalid_key":
    case "invalid_request":
    case "body_too_large":
      return error.message;
  }
}

/** `retry-after` in whole seconds and `retry-after-ms`, both rounded up; `x-should-retry: false` where trying again makes no sense (SDKs obey it before all else). */
export function refusalRetryHeaders(refusal: Refusal): RawHeaders {
  const headers = retryAfterHeaders(refusal.retryAfterMs);
  if (refusal.retryAfterMs === undefined || TERMINAL.has(refusal.code))
    headers.push("x-should-retry", "false");
  return headers;
}

export function retryAfterHeaders(retryAfterMs: number | undefined): RawHeaders {
  if (retryAfterMs === undefined) return [];
  const ms = Math.max(0, Math.ceil(retryAfterMs));
  return ["retry-after", String(Math.ceil(ms / 1000)), "retry-after-ms", String(ms)];
}

/** Said of a provider's error that is not one of its own kind. */
export const UNREADABLE = "The provider answered with an error that cannot be read.";

/** Undefined where it is no JSON object. */
export function readErrorBody(body: Buffer): JsonObject | undefined {
  try {
    return parseJsonObject(body, { notJson: UNREADABLE });
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    return undefined;
  }
}

export function jsonAnswer(status: number, headers: RawHeaders, value: unknown): HttpAnswer {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status,
    headers: ["content-type", "application/json", "content-length", String(body.length), ...headers],
    body,
  };
}
