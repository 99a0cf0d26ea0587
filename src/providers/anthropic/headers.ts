import type { HeaderLimit, RawHeaders } from "../../ports/provider-format.ts";
import { hidesOriginHeader } from "../http/hidden-headers.ts";
import { shownRemaining, tightestLimit } from "../http/tightest-limit.ts";

/** Latest time that a date can say, in epoch ms (ECMAScript, time values). */
const TIME_MS_MAX = 8.64e15;

const SHOWN = [
  ["requests", "requests"],
  ["tokens", "tokens"],
  ["input-tokens", "input_tokens"],
  ["output-tokens", "output_tokens"],
] as const;

export function authHeader(accountKey: string): readonly [name: string, value: string] {
  return ["x-api-key", accountKey];
}

/** `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`; `reset` is the time at which all is there again. */
export function limitHeaders(limits: readonly HeaderLimit[], nowMs: number): RawHeaders {
  const headers: RawHeaders = [];
  for (const [infix, meter] of SHOWN) {
    const limit = tightestLimit(limits, meter);
    if (limit === undefined) continue;
    headers.push(`anthropic-ratelimit-${infix}-limit`, String(limit.limit));
    headers.push(`anthropic-ratelimit-${infix}-remaining`, String(shownRemaining(limit)));
    headers.push(`anthropic-ratelimit-${infix}-reset`, timeText(nowMs + limit.reading.fullInMs));
  }
  return headers;
}

/** Beside what is hidden of every provider: whose account it is, and its limits (of the priority tier, too). */
export function hidesHeader(name: string): boolean {
  const lower = name.toLowerCase();
  return (
    lower === "anthropic-organization-id" ||
    lower.startsWith("anthropic-ratelimit-") ||
    lower.startsWith("anthropic-priority-") ||
    lower.startsWith("anthropic-fast-") ||
    hidesOriginHeader(lower)
  );
}

/** RFC 3339 in whole seconds, rounded up: nobody comes back too early. */
export function timeText(timeMs: number): string {
  const seconds = Math.ceil(Math.min(timeMs, TIME_MS_MAX) / 1000);
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}
