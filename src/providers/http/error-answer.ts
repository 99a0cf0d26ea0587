import { OperationalError } from "../../core/operational-error.ts";
import type { HttpAnswer, RawHeaders, Refusal, RefusalCode } from "../../ports/provider-format.ts";
import { type JsonObject, parseJsonObject } from "./body-json.ts";

/** Refusals that no second try changes. */
const TERMINAL: ReadonlySet<RefusalCode> = new Set(["budget_exceeded", "request_too_large_for_limit"]);

/** Beyond this an SDK that obeys would sleep without a word, and one that does not would try again in a moment for nothing (docs/decisions/0018). */
const SDK_WAIT_MS_MAX = 60_000;

/** `retry-after` in whole seconds and `retry-after-ms`, both rounded up; `x-should-retry: false`, which SDKs obey before all else, where trying again makes no sense, or not soon. */
export function refusalRetryHeaders({ code, retryAfterMs }: Refusal): RawHeaders {
  const headers = retryAfterHeaders(retryAfterMs);
  if (retryAfterMs === undefined || retryAfterMs > SDK_WAIT_MS_MAX || TERMINAL.has(code)) {
    headers.push("x-should-retry", "false");
  }
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
