import type { RoomBounds } from "../../core/fairness/permit.ts";
import type { LimitSpec } from "../../core/limits/limit-spec.ts";
import type { PermitCall, PermitDecision } from "../../ports/permit-queue.ts";
import { idName } from "./unanswered.ts";

export type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;

/** A call of this gateway that waits, or is about to. */
export interface CallInRoom {
  readonly call: PermitCall;
  readonly bounds: RoomBounds;
  readonly specs: readonly LimitSpec[];
  readonly decided: (decision: Decided) => void;
  readonly failed: (error: unknown) => void;
  /** When it is refused, of `performance.now`: counted from when it came, however long the room took to answer (Q4). */
  readonly dueMs: number;
  deadline: NodeJS.Timeout | undefined;
  /** Which of the calls that came to wait; 0 until it does. */
  arrival: number;
  /** Of the room in which it waits. */
  generation: number;
  /** Of the room that has lost it: what that granted is lost as well. */
  lostWith: number;
  /** Nobody wants the permit any more. */
  hasLeft: boolean;
  /** Its deadline is over: it does not queue up again. */
  isTimedOut: boolean;
  /** Its grant was heard. */
  isGranted: boolean;
  /** The room has said that it does not have it, so that its grant may be under way. */
  isMissing: boolean;
}

/** The calls of this gateway, and whether the room still has all of those that came to wait in it. */
export class CallsInRoom {
  readonly #calls = new Map<string, CallInRoom>();
  /** Counts the calls that came to wait. */
  #arrivals = 0;
  /** The calls up to `arrivals` waited when the last beat was sent, and the room knew `known` of ours. */
  #lastBeat: { readonly arrivals: number; readonly known: number } | undefined;
  /** Of the room, as it told last; 0 where it has not. */
  #generation = 0;

  get size(): number {
    return this.#calls.size;
  }

  /** How many have come to wait so far. */
  get arrivals(): number {
    return this.#arrivals;
  }

  find(name: string): CallInRoom | undefined {
    return this.#calls.get(name);
  }

  has(call: CallInRoom): boolean {
    return this.#calls.get(idName(call.call.id)) === call;
  }

  add(call: CallInRoom): void {
    this.#calls.set(idName(call.call.id), call);
  }

  /** Whether it was there. */
  remove(call: CallInRoom): boolean {
    return this.has(call) && this.#calls.delete(idName(call.call.id));
  }

  /** It waits in the room of this generation. */
  arrived(call: CallInRoom, generation: number): void {
    this.#arrivals += 1;
    call.arrival = this.#arrivals;
    call.generation = generation;
  }

  /** The room has told its generation. Calls that waited in one before are lost with it: these, in the order in which they came. */
  lostBefore(generation: number): readonly CallInRoom[] {
    if (generation === this.#generation) return [];
    this.#generation = generation;
    this.#lastBeat = undefined;
    const lost = [...this.#calls.values()]
      .filter((call) => call.arrival > 0 && call.generation !== generation)
      .filter(({ hasLeft, isTimedOut }) => !hasLeft && !isTimedOut)
      .sort((a, b) => a.arrival - b.arrival);
    for (const call of lost) {
      call.lostWith = call.generation;
      call.arrival = 0;
    }
    return lost;
  }

  /** A beat was sent after `arrivals` calls had come to wait, and the room has `known` of ours. False where it had forgotten some at the beat before. */
  beat(arrivals: number, known: number): boolean {
    if (this.#hasForgotten()) return false;
    this.#lastBeat = { arrivals, known };
    return true;
  }

  /** Whether more calls wait since the last beat than the room knew then: what it had granted by then has been heard since. */
  #hasForgotten(): boolean {
    if (this.#lastBeat === undefined) return false;
    const { arrivals, known } = this.#lastBeat;
    let since = 0;
    for (const { arrival, hasLeft } of this.#calls.values()) {
      if (arrival > 0 && arrival <= arrivals && !hasLeft) since += 1;
    }
    return since > known;
  }

  /** Takes all of them out. */
  clear(): readonly CallInRoom[] {
    const all = [...this.#calls.values()];
    this.#calls.clear();
    this.#lastBeat = undefined;
    return all;
  }
}
