import type { HeaderLimit, RawHeaders } from "../../ports/provider-format.ts";
import { hidesOriginHeader } from "../http/hidden-headers.ts";
import { shownRemaining, tightestLimit } from "../http/tightest-limit.ts";

export function authHeader(accountKey: string): readonly [name: string, value: string] {
  return ["authorization", `Bearer ${accountKey}`];
}

/** `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; `reset` is the time until all is there again, as OpenAI's is. */
export function limitHeaders(limits: readonly HeaderLimit[]): RawHeaders {
  const headers: RawHeaders = [];
  const tokens =
    tightestLimit(limits, "tokens") ??
    tightestLimit(limits, "input_tokens") ??
    tightestLimit(limits, "output_tokens");
  for (const [suffix, limit] of [
    ["requests", tightestLimit(limits, "requests")],
    ["tokens", tokens],
  ] as const) {
    if (limit === undefined) continue;
    headers.push(`x-ratelimit-limit-${suffix}`, String(limit.limit));
    headers.push(`x-ratelimit-remaining-${suffix}`, String(shownRemaining(limit)));
    headers.push(`x-ratelimit-reset-${suffix}`, durationText(limit.reading.fullInMs));
  }
  return headers;
}

/** Beside what is hidden of every provider: whose account it is. */
export function hidesHeader(name: string): boolean {
  const lower = name.toLowerCase();
  return lower === "openai-organization" || lower === "openai-project" || hidesOriginHeader(lower);
}

/** `84ms`, `1s`, `1.5s`, `6m0s`, `1h2m3.5s`: the notation of Go, which OpenAI's headers use. Milliseconds round up. */
export function durationText(durationMs: number): string {
  const ms = Math.max(0, Math.ceil(durationMs));
  if (ms === 0) return "0s";
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = `${(ms % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
