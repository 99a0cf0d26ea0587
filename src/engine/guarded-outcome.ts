import type { PermitRequest, RoomBounds } from "../core/fairness/permit.ts";
import type { SubjectCharges } from "../core/limits/combine.ts";
import type { LimitReading } from "../core/limits/limit-spec.ts";
import type { ReservationId, ReserveOutcome } from "../ports/limit-store.ts";
import type { PermitDecision } from "../ports/permit-queue.ts";

/** What a call brings to the waiting room. */
export interface Turn extends Omit<PermitRequest, "subjects"> {
  readonly bounds: RoomBounds;
}

/** A reservation that was granted, by the store or in its absence. */
export interface Held {
  readonly id: ReservationId;
  readonly grantedMs: number;
  /** What is noted of it in this process's memory, see `OwnPlaces`. */
  readonly places: readonly SubjectCharges[] | undefined;
  /** Of a call that took part in the waiting room; `isCounted` where its service was counted. */
  readonly turn: { readonly turn: Turn; readonly isCounted: boolean } | undefined;
  /** Set where the store could not be asked: which charges are held in this process's memory instead, and against what share. */
  readonly local: { readonly isCharged: readonly boolean[]; readonly gateways: number } | undefined;
}

export type GuardedOutcome =
  | {
      readonly kind: "held";
      readonly held: Held;
      readonly overShadow: readonly number[];
      /** In the order of the charges; absent while the store is away. */
      readonly readings: readonly LimitReading[] | undefined;
    }
  | {
      readonly kind: "refused" | "never_fits";
      readonly waitMs: number;
      readonly limiting: number;
      readonly readings: readonly LimitReading[] | undefined;
    }
  | {
      /** There is no place to wait; others are first, for longer than the call may wait; it has waited for as long as it may. */
      readonly kind: "queue_full" | "behind_others" | "timed_out";
      /** When it would be served, as far as can be told. */
      readonly waitMs: number;
    };

/** A call's place in the waiting room. */
export interface Place {
  readonly kind: "waiting";
  /** When it will be served, as far as can be told. */
  readonly expectedMs: number;
  /** Rejects with `store_unavailable` as `enter` does. */
  readonly decision: Promise<GuardedOutcome>;
  /** Gives the place up. `decision` may still come, where it was under way. */
  leave(): void;
}

/** Why a call does not wait: its limits, where they alone keep it for longer than it may wait; else those who are first. */
export function refusedOf(
  { reason, waitMs: expectedMs, outcome }: Extract<PermitDecision, { readonly kind: "refused" }>,
  maxWaitMs: number,
): GuardedOutcome {
  const waitMs = Math.ceil(expectedMs);
  if (reason === "queue_full") return { kind: "queue_full", waitMs };
  switch (outcome?.kind) {
    case "never_fits":
      return { kind: "never_fits", waitMs: 0, limiting: outcome.limiting, readings: outcome.readings };
    case "refused":
      if (maxWaitMs > 0 && outcome.waitMs <= maxWaitMs) return { kind: "behind_others", waitMs };
      return {
        kind: "refused",
        waitMs: Math.max(waitMs, outcome.waitMs),
        limiting: outcome.limiting,
        readings: outcome.readings,
      };
    case "admitted":
    case "closed":
    case undefined:
      return { kind: "behind_others", waitMs };
  }
}

type Decided = Extract<GuardedOutcome, { readonly kind: "held" | "refused" | "never_fits" }>;

export function outcomeOf(outcome: ReserveOutcome, held: Held): Decided {
  const { readings } = outcome;
  switch (outcome.kind) {
    case "admitted":
      return { kind: "held", held, overShadow: outcome.overShadow, readings };
    case "refused":
      return { kind: "refused", waitMs: outcome.waitMs, limiting: outcome.limiting, readings };
    case "never_fits":
      return { kind: "never_fits", waitMs: 0, limiting: outcome.limiting, readings };
    case "closed":
      throw new Error("a fresh reservation id is closed: ids are not unique");
  }
}
