import { Ticket } from "../../core/fairness/lane.ts";
import type { PermitRequest } from "../../core/fairness/permit.ts";
import type { PermitDecision, WaitingPermit } from "../../ports/permit-queue.ts";
import type { DeadlineList, Timed } from "./deadlines.ts";

export type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;

type Decide = (decision: Decided | Promise<never>) => void;

/** How the promise that was made last is decided: one executor for all, instead of one with its scope for each. */
let kept: Decide = () => {};
const keep = (decide: Decide): void => {
  kept = decide;
};

/**
 * A call that waits in this process: its ticket in the room, its deadline, and what its caller holds, in one object. Thousands wait for as long as it takes, so that what
 * each of them keeps is what waiting costs the collector.
 */
export class WaitingCall extends Ticket implements WaitingPermit, Timed<WaitingCall> {
  readonly decision: Promise<Decided>;
  expectedMs = 0;
  /** `committing`: granted, and not yet as durable as promised. `left`: its caller does not want it any more. Written by the queue only. */
  state: "waiting" | "committing" | "left" | "decided" = "waiting";
  deadlineMs = 0;
  sooner: WaitingCall | undefined = undefined;
  later: WaitingCall | undefined = undefined;
  deadlines: DeadlineList<WaitingCall> | undefined = undefined;
  readonly #left: (call: WaitingCall) => void;
  readonly #decide: Decide;

  /** `left` is told when the caller leaves. */
  constructor(request: PermitRequest, enteredMs: number, left: (call: WaitingCall) => void) {
    super(request, enteredMs);
    this.#left = left;
    this.decision = new Promise(keep);
    this.#decide = kept;
  }

  get kind(): "waiting" {
    return "waiting";
  }

  leave(): void {
    this.#left(this);
  }

  decide(decision: Decided): void {
    this.state = "decided";
    this.#decide(decision);
  }

  fail(error: unknown): void {
    this.state = "decided";
    // One function to keep and not two.
    this.#decide(Promise.reject(error));
  }
}
