import type { Clock } from "../ports/clock.ts";
import type { RawHeaders } from "../ports/provider-format.ts";
import type { Answer, AnswerUsage } from "./answer.ts";
import { LevelBucket } from "./level-bucket.ts";
import { type LimitState, limitHeaders, limitRefusal } from "./limit-answer.ts";
import { isObject } from "./recording.ts";
import { answersWanted, openAiChargeOf, outputTokensMaxOf } from "./token-count.ts";
import type { WireFormat } from "./wire-format.ts";

export const ENFORCED_METERS = ["requests", "tokens", "input_tokens", "output_tokens"] as const;

export type EnforcedMeter = (typeof ENFORCED_METERS)[number];

/** What a provider grants an account. */
export interface EnforcedLimit {
  readonly meter: EnforcedMeter;
  /** A positive integer: what the full bucket holds, and what comes back in one window. */
  readonly limit: number;
  readonly windowMs: number;
  /**
   * What `tokens` of an OpenAI call are. `shown` (default): what its headers show, an estimate from characters without `max_tokens`.
   * `documented`: the larger of that and the call's own maximum. `actual`: input and output. Anthropic always counts the actual ones.
   */
  readonly charge?: "shown" | "documented" | "actual";
}

/** What a provider looks at before it answers. */
export interface AdmissionRequest {
  /** The account. */
  readonly key: string;
  readonly format: WireFormat;
  readonly model: string;
  readonly body: unknown;
  /** What the answer is going to use. */
  readonly usage: AnswerUsage;
}

export type Admission =
  | { readonly kind: "admitted"; readonly headers: RawHeaders }
  | { readonly kind: "refused"; readonly answer: Answer };

/** More keys than a test has accounts; beyond it the one seen first is forgotten. */
const ACCOUNTS_MAX = 10_000;

/**
 * Enforces limits per account as providers do: a refused call is charged nothing, an admitted one everything at once. Output of Anthropic's
 * calls is charged without asking whether it fits, since it is unknown then, and the account is refused until that is paid off.
 */
export class EnforcedLimits {
  readonly #limits: readonly EnforcedLimit[];
  readonly #clock: Clock;
  readonly #accounts = new Map<string, readonly LevelBucket[]>();

  /** Throws an `Error` that names what a limit lacks. */
  constructor(limits: readonly EnforcedLimit[], clock: Clock) {
    this.#limits = limits.map(checkedLimit);
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    return this.#limits.length === 0;
  }

  admit(request: AdmissionRequest): Admission {
    const nowMs = this.#clock.nowMs();
    const buckets = this.#bucketsOf(request.key, nowMs);
    const states: LimitState[] = this.#limits.map((limit, index) => ({
      limit,
      bucket: buckets[index]!,
      needed: neededFor(limit, request),
      charged: chargedFor(limit, request),
    }));
    const refusing = tightestRefusal(states, nowMs);
    if (refusing !== undefined) {
      const headers = limitHeaders(states, request.format, nowMs);
      const answer = limitRefusal(refusing, request, nowMs);
      return { kind: "refused", answer: { ...answer, headers: [...answer.headers, ...headers] } };
    }
    for (const { bucket, charged } of states) bucket.take(charged, nowMs);
    return { kind: "admitted", headers: limitHeaders(states, request.format, nowMs) };
  }

  #bucketsOf(key: string, nowMs: number): readonly LevelBucket[] {
    const known = this.#accounts.get(key);
    if (known !== undefined) return known;
    const buckets = this.#limits.map(({ limit, windowMs }) => new LevelBucket(limit, windowMs, nowMs));
    const [oldest] = this.#accounts.keys();
    if (this.#accounts.size >= ACCOUNTS_MAX && oldest !== undefined) this.#accounts.delete(oldest);
    this.#accounts.set(key, buckets);
    return buckets;
  }
}

/** Of the limits that refuse, the one that never fits, or else that takes longest. */
function tightestRefusal(states: readonly LimitState[], nowMs: number): LimitState | undefined {
  const waits = states.map((state) => ({
    state,
    waitMs: state.needed > state.limit.limit ? Infinity : state.bucket.waitMs(state.needed, nowMs),
  }));
  const worst = waits.reduce<(typeof waits)[number] | undefined>(
    (most, wait) => (wait.waitMs > (most?.waitMs ?? 0) ? wait : most),
    undefined,
  );
  return worst?.state;
}

function chargedFor(limit: EnforcedLimit, { format, body, usage }: AdmissionRequest): number {
  const actual = usage.inputTokens + usage.outputTokens;
  switch (limit.meter) {
    case "requests":
      return 1;
    case "input_tokens":
      return usage.inputTokens;
    case "output_tokens":
      return usage.outputTokens;
    case "tokens":
      if (format === "anthropic" || limit.charge === "actual") return actual;
      return limit.charge === "documented" ? documentedCharge(body) : openAiChargeOf(body);
  }
}

function documentedCharge(body: unknown): number {
  const answers = isObject(body) ? answersWanted(body) : 1;
  return Math.max(openAiChargeOf(body), (outputTokensMaxOf(body) ?? 0) * answers);
}

/** Output is not known before the answer: one token must be there. */
function neededFor(limit: EnforcedLimit, request: AdmissionRequest): number {
  if (limit.meter === "output_tokens") return 1;
  if (limit.meter === "tokens" && request.format === "anthropic") return request.usage.inputTokens;
  return chargedFor(limit, request);
}

function checkedLimit(limit: EnforcedLimit): EnforcedLimit {
  if (!ENFORCED_METERS.includes(limit.meter))
    throw new Error(`a limit's meter must be one of ${ENFORCED_METERS.join(", ")}, not "${limit.meter}"`);
  if (!Number.isSafeInteger(limit.limit) || limit.limit < 1)
    throw new Error(`the limit of ${limit.meter} must be a positive integer, not ${limit.limit}`);
  if (!Number.isSafeInteger(limit.windowMs) || limit.windowMs < 1)
    throw new Error(`the window of ${limit.meter} must be a positive number of milliseconds`);
  return limit;
}
