import type { Meter } from "../limits/limit-spec.ts";

/** What a limit is counted per. */
export type Scope = "user" | "key" | "team" | "feature" | "model" | "global" | "account";
/** What a call has, and limits can be matched by. */
export type Attribute = Exclude<Scope, "global">;
export type Priority = "low" | "normal" | "high" | "critical";
/** How much is held before a call: the expected amount, the most that it could be, or nothing. */
export type ReservePolicy = "expected" | "worst_case" | "none";
/** What happens to a call while the store cannot be asked: admitted, refused, or counted against an even share in this process's memory. */
export type StoreFailurePolicy = "open" | "closed" | "local";

/** What happens to a stream whose hold must grow while the limit is used up: it goes on, and the excess is debt; or it ends. */
export type ExhaustionPolicy = "continue" | "cut";

export type Window =
  | { readonly kind: "rolling"; readonly windowMs: number }
  | { readonly kind: "token_bucket"; readonly windowMs: number; readonly burst: number }
  | { readonly kind: "calendar"; readonly unit: "day" | "week" | "month"; readonly timezone: string }
  /** The meter `concurrency` has none. */
  | { readonly kind: "open" };

/** How much a model token of each kind counts on the meter `tokens`. */
export interface TokenWeights {
  readonly input: number;
  /** Input that the provider read from its cache. */
  readonly cachedInput: number;
  readonly output: number;
}

/** A limit of the configuration, checked and with its defaults. */
export interface LimitRule {
  /** Unique among the rules that can apply to one call; `requests-1m` where the configuration gives none. */
  readonly name: string;
  readonly meter: Meter;
  /** In the meter's unit (nano-USD for `cost`). */
  readonly limit: number;
  readonly window: Window;
  /** Never empty, sorted, without duplicates. */
  readonly scope: readonly Scope[];
  /** Globs (`gpt-4*`) by attribute; all must match. A call without the attribute does not match. */
  readonly match: Readonly<Partial<Record<Attribute, string>>>;
  readonly mode: "enforce" | "shadow";
  readonly reserve: ReservePolicy;
  readonly onStoreFailure: StoreFailurePolicy;
  readonly onExhausted: ExhaustionPolicy;
  readonly weights: TokenWeights;
  /** Shares of the limit, in percent, at which somebody is told that so much has been used. Absent: none. */
  readonly alertsAt?: readonly number[] | undefined;
}

export interface Plan {
  readonly name: string;
  readonly priority: Priority;
  readonly weight: number;
  readonly limits: readonly LimitRule[];
  readonly whenLimited: "reject" | "wait" | "defer";
  /** 0 where a call that does not fit is refused at once. */
  readonly maxWaitMs: number;
  /** Whether a streamed call that waits for long is answered with comments meanwhile: its status is sent before it is known. */
  readonly keepalive: boolean;
  /** What becomes of calls that limits on model tokens and cost cannot count: batches, pictures, audio files. */
  readonly unreadCalls: "pass" | "refuse";
}

/** Who calls: attributes that limits are counted per and matched by. */
export interface Caller {
  readonly user: string;
  readonly plan: string;
  /** Of the key, instead of the plan's. */
  readonly priority?: Priority | undefined;
  /** The name (never the text) of Sluice's own key. */
  readonly key?: string | undefined;
  readonly team?: string | undefined;
  readonly feature?: string | undefined;
}
