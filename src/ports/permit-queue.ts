import type { PermitRequest, RoomBounds, Turned } from "../core/fairness/permit.ts";
import type { Served } from "../core/fairness/waiting-room.ts";
import type { Priority } from "../core/policy/policy.ts";
import type { ReserveOutcome, ReserveRequest } from "./limit-store.ts";

/** A call that wants to be reserved now or, in its turn, within `maxWaitMs`. */
export interface PermitCall extends ReserveRequest, PermitRequest {}

export type PermitDecision =
  | {
      /** Reserved, as `LimitStore.reserve` would have. */
      readonly kind: "granted";
      readonly outcome: Extract<ReserveOutcome, { readonly kind: "admitted" }>;
      /** Others waited, so that its service was counted: `freed` is to be told by how much its size was wrong. */
      readonly isCounted: boolean;
    }
  | {
      readonly kind: "refused";
      readonly reason: Turned;
      /** When it would be served, as far as can be told; 0 for `never_fits`. */
      readonly waitMs: number;
      /** Where the limits were asked: what they said. */
      readonly outcome: ReserveOutcome | undefined;
    }
  /** It waited, and its time is over. `waitMs` is when it would have been served from now. */
  | { readonly kind: "timed_out"; readonly waitMs: number };

export interface WaitingPermit {
  readonly kind: "waiting";
  /** When it will be served, as far as can be told. */
  readonly expectedMs: number;
  /**
   * Granted, or timed out at the deadline and at most 50 ms after (Q4). Rejects with an `OperationalError` `store_unavailable` where the store went
   * away meanwhile; whether the call was reserved is then unknown, and a release undoes it.
   */
  readonly decision: Promise<Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>>;
  /** Gives the place up. Where it was not granted before, `decision` never settles, and a grant that is under way is released. Idempotent. */
  leave(): void;
}

/** What became of a call. */
export interface FreedRequest {
  /** The keys of all its subjects. */
  readonly keys: readonly string[];
  /** Of a call whose service was counted. */
  readonly served: Served | undefined;
  /** From its grant to its end; undefined where that says nothing about how long calls take: it was never sent, or the store was away. */
  readonly openMs: number | undefined;
}

/** A call of a flow that waits, in whatever gateway. */
export interface WaitingCall {
  readonly waitedMs: number;
  /** 1 for the next. As far as can be told. */
  readonly position: number;
  /** As far as can be told. */
  readonly expectedMs: number;
}

/** So many calls of a flow are looked at: whoever asks may have thousands, and may ask often, and others wait meanwhile. */
export const LOOK_MAX = 20;

/** What waits of a flow in a priority. */
export interface WaitingOfFlow {
  /** All of them. */
  readonly total: number;
  /** The first `LOOK_MAX` that came, in that order. */
  readonly first: readonly WaitingCall[];
}

/**
 * One queue of permits for all gateways on a store: order and fairness hold across them (Q7). Belongs to a `LimitStore`, whose limits it reserves on and whose clock it
 * goes by, and ends with it. Where calls of a plan may wait, every call enters, so that none passes those who wait; a call that may not
 * wait enters with `maxWaitMs` 0.
 */
export interface PermitQueue {
  /** Rejects with `store_unavailable` as `LimitStore.reserve` does. */
  enter(
    call: PermitCall,
    bounds: RoomBounds,
  ): Promise<Exclude<PermitDecision, { readonly kind: "timed_out" }> | WaitingPermit>;
  /** To be told after every settle, release and extension given up, of any call: whoever is next goes. Never rejects. */
  freed(request: FreedRequest): void;
  /** What waits of a flow. Rejects with `store_unavailable`. */
  look(flow: string, priority: Priority): Promise<WaitingOfFlow>;
}
