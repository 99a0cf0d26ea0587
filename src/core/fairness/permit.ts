import type { SubjectCharges } from "../limits/combine.ts";
import type { Priority } from "../policy/policy.ts";

/** First to last. A band is the place of a priority in it. */
export const PRIORITIES: readonly Priority[] = ["critical", "high", "normal", "low"];

export const bandOf = (priority: Priority): number => PRIORITIES.indexOf(priority);

/** The lower of two. */
export const lowerPriority = (a: Priority, b: Priority): Priority => (bandOf(a) > bandOf(b) ? a : b);

/** What a call asks of the waiting room: a permit to be sent. */
export interface PermitRequest {
  readonly subjects: readonly SubjectCharges[];
  /** By subject, whether others than this flow are counted under it: waiting for one that is shared is a matter of turns. */
  readonly isShared: readonly boolean[];
  /** Who waits: all calls of one flow of a priority are served first come first served, and flows by turns. */
  readonly flow: string;
  readonly priority: Priority;
  /** The flow's share inside its priority, > 0. */
  readonly weight: number;
  /** What the call is expected to cost others, in weighted model tokens: a safe integer ≥ 1. */
  readonly size: number;
  /** What keeping the call takes of memory. */
  readonly bytes: number;
  /** The longest that the call may wait; 0 for one that is served at once or not at all. */
  readonly maxWaitMs: number;
}

/** How much of the room there is. */
export interface RoomBounds {
  readonly waitingMax: number;
  readonly waitingPerFlowMax: number;
  readonly bytesMax: number;
  readonly bytesPerFlowMax: number;
  /** By band, the share of all service that its waiting calls get though higher priorities could take it, 0 … 1. The first band's is not used. */
  readonly minShares: readonly number[];
}

/** Why a call is not waiting: `limited` (it cannot be served in time, or may not wait at all), `never_fits`, `queue_full`. */
export type Turned = "limited" | "never_fits" | "queue_full";
