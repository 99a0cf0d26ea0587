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

/** What a call needs, by charge. */
export function needsOf({ subjects }: PermitRequest): number[] {
  const needs: number[] = [];
  for (const { charges } of subjects) for (const { need } of charges) needs.push(need);
  return needs;
}

/** Nothing of each limit that a call asks for. */
export function noNeeds({ subjects }: PermitRequest): number[] {
  let charges = 0;
  for (const subject of subjects) charges += subject.charges.length;
  return new Array<number>(charges).fill(0);
}

/** From `from` on, the first subject that is shared, or is not; their count where there is none. */
function nextSubject({ isShared }: PermitRequest, from: number, shared: boolean): number {
  let at = from;
  while (at < isShared.length && isShared[at] !== shared) at += 1;
  return at;
}

/** Whether two calls ask for the same limits, of those that are shared or of those that are not. */
export function asksForTheSame(a: PermitRequest, b: PermitRequest, shared: boolean): boolean {
  let i = nextSubject(a, 0, shared);
  let j = nextSubject(b, 0, shared);
  while (i < a.subjects.length && j < b.subjects.length) {
    const ours = a.subjects[i];
    const theirs = b.subjects[j];
    if (ours.key !== theirs.key || ours.charges.length !== theirs.charges.length) return false;
    for (let charge = 0; charge < ours.charges.length; charge++) {
      if (ours.charges[charge].spec.id !== theirs.charges[charge].spec.id) return false;
    }
    i = nextSubject(a, i + 1, shared);
    j = nextSubject(b, j + 1, shared);
  }
  return i === a.subjects.length && j === b.subjects.length;
}
