import { OperationalError } from "../../core/operational-error.ts";
import type { HttpAnswer, RawHeaders, Refusal, RefusalCode } from "../../ports/provider-format.ts";
import { type JsonObject, parseJsonObject } from "./body-json.ts";

/** Refusals that no second try changes. */
const TERMINAL: ReadonlySet<RefusalCode> = new Set(["budget_exceeded", "request_too_large_for_limit"]);

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
