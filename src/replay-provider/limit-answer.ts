import type { RawHeaders } from "../ports/provider-format.ts";
import type { Answer } from "./answer.ts";
import type { AdmissionRequest, EnforcedLimit, EnforcedMeter } from "./enforced-limits.ts";
import type { LevelBucket } from "./level-bucket.ts";
import { errorAnswer } from "./provider-errors.ts";
import { formatDuration, formatTime } from "./reset-time.ts";
import type { WireFormat } from "./wire-format.ts";

/** One limit of one account in one decision. */
export interface LimitState {
  readonly limit: EnforcedLimit;
  readonly bucket: LevelBucket;
  /** What must be there for the call to be admitted. */
  readonly needed: number;
  /** What it takes when it is. */
  readonly charged: number;
}

/** Anthropic rounds what remains of model tokens to thousands; below this limit that would say nothing, so it is exact. */
const ROUNDED_FROM_LIMIT = 10_000;
const ROUNDED_TO = 1000;

/** What remains and when it is full again, in the provider's own headers. Of several limits with one meter, the one with the least left. */
export function limitHeaders(states: readonly LimitState[], format: WireFormat, nowMs: number): RawHeaders {
  const shown = new Map<EnforcedMeter, { readonly bucket: LevelBucket; readonly remaining: number }>();
  for (const { limit, bucket } of states) {
    const remaining = remainingOf(bucket, nowMs);
    const other = shown.get(limit.meter);
    if (other === undefined || remaining < other.remaining) shown.set(limit.meter, { bucket, remaining });
  }
  return [...shown].flatMap(([meter, { bucket, remaining }]) =>
    format === "openai"
      ? openAiHeaders(meter, bucket, remaining)
      : anthropicHeaders(meter, bucket, remaining, nowMs),
  );
}

function remainingOf(bucket: LevelBucket, nowMs: number): number {
  return Math.max(0, Math.floor(bucket.levelAt(nowMs) + 1e-9));
}

function openAiHeaders(
  meter: EnforcedMeter,
  { limit, windowMs }: LevelBucket,
  remaining: number,
): RawHeaders {
  // OpenAI has no others; they are enforced all the same.
  if (meter !== "requests" && meter !== "tokens") return [];
  const resetMs = ((limit - remaining) / limit) * windowMs;
  return [
    `x-ratelimit-limit-${meter}`,
    String(limit),
    `x-ratelimit-remaining-${meter}`,
    String(remaining),
    `x-ratelimit-reset-${meter}`,
    formatDuration(Number(resetMs.toFixed(6))),
  ];
}

function anthropicHeaders(
  meter: EnforcedMeter,
  bucket: LevelBucket,
  remaining: number,
  nowMs: number,
): RawHeaders {
  const prefix = `anthropic-ratelimit-${meter.replace("_", "-")}`;
  const isRounded = meter !== "requests" && bucket.limit >= ROUNDED_FROM_LIMIT;
  const shown = isRounded
    ? Math.min(bucket.limit, Math.round(remaining / ROUNDED_TO) * ROUNDED_TO)
    : remaining;
  return [
    `${prefix}-limit`,
    String(bucket.limit),
    `${prefix}-remaining`,
    String(shown),
    `${prefix}-reset`,
    formatTime(nowMs + bucket.waitMs(bucket.limit, nowMs)),
  ];
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** The 429 of the limit that refuses, in the provider's own words with true numbers. */
export function limitRefusal(state: LimitState, request: AdmissionRequest, nowMs: number): Answer {
  return request.format === "openai"
    ? openAiRefusal(state, request, nowMs)
    : anthropicRefusal(state, request, nowMs);
}

function openAiRefusal(state: LimitState, { model }: AdmissionRequest, nowMs: number): Answer {
  const { limit, bucket, needed } = state;
  const what = `for ${model} in organization org-replay on ${openAiWindow(limit)}`;
  const type = limit.meter === "requests" ? "requests" : "tokens";
  const more = "Visit https://platform.openai.com/account/rate-limits to learn more.";
  const code = "rate_limit_exceeded";
  if (needed > limit.limit) {
    const message = `Request too large ${what}: Limit ${limit.limit}, Requested ${needed}. The input or output tokens must be reduced in order to run successfully. ${more}`;
    return errorAnswer("openai", 429, { type, code, message });
  }
  const used = Math.ceil(limit.limit - bucket.levelAt(nowMs) - 1e-9);
  // From the numbers in the text, so that they agree: (used + requested − limit) ÷ limit × window.
  const waitMs = Math.ceil(((used + needed - limit.limit) / limit.limit) * limit.windowMs - 1e-6);
  const message = `Rate limit reached ${what}: Limit ${limit.limit}, Used ${used}, Requested ${needed}. Please try again in ${formatDuration(waitMs)}. ${more}`;
  return errorAnswer("openai", 429, { type, code, message, retryAfterMs: waitMs });
}

function openAiWindow({ meter, windowMs }: EnforcedLimit): string {
  const unit = meter === "requests" ? "requests" : meter === "tokens" ? "tokens" : meter.replace("_", " ");
  const short = meter === "requests" ? "R" : "T";
  if (windowMs === MINUTE_MS) return `${unit} per min (${short}PM)`;
  if (windowMs === DAY_MS) return `${unit} per day (${short}PD)`;
  return `${unit} per ${formatDuration(windowMs)}`;
}

const THOUSANDS = new Intl.NumberFormat("en-US");

function anthropicRefusal(state: LimitState, { model }: AdmissionRequest, nowMs: number): Answer {
  const { limit, bucket, needed } = state;
  const unit = limit.meter.replace("_", " ");
  const message =
    `This request would exceed your organization's rate limit of ${THOUSANDS.format(limit.limit)} ${unit} ${anthropicWindow(limit.windowMs)} (org: org-replay, model: ${model}). ` +
    "For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. " +
    "Please reduce the prompt length or the maximum tokens requested, or try again later.";
  const never = needed > limit.limit;
  const answer = errorAnswer("anthropic", 429, {
    message,
    ...(never ? {} : { retryAfterMs: bucket.waitMs(needed, nowMs) }),
  });
  return { ...answer, headers: [...answer.headers, "x-should-retry", String(!never)] };
}

function anthropicWindow(windowMs: number): string {
  if (windowMs === MINUTE_MS) return "per minute";
  if (windowMs === HOUR_MS) return "per hour";
  if (windowMs === DAY_MS) return "per day";
  return `per ${formatDuration(windowMs)}`;
}
