import type { HeaderLimit, Refusal } from "../ports/provider-format.ts";
import type { Reservation } from "./held-reservation.ts";

/** Whether a call may be sent. `limits` are those of its caller; `waitedMs` is how long it was in the waiting room. */
export type Decision =
  | {
      readonly kind: "admitted";
      readonly reservation: Reservation;
      readonly limits: readonly HeaderLimit[];
      readonly waitedMs: number;
    }
  | {
      readonly kind: "refused";
      readonly refusal: Refusal;
      readonly limits: readonly HeaderLimit[];
      readonly waitedMs: number;
    };

/** A call that does not fit now, and has a place in the waiting room. */
export interface Waiting {
  readonly kind: "waiting";
  /** When it will be served, as far as can be told. */
  readonly expectedMs: number;
  /** Whether its plan wants a streamed call to be answered with comments while it waits. */
  readonly keepalive: boolean;
  /** Comes within the plan's `max_wait`, and 50 ms (Q4). Rejects as `Engine.admit` does. Never settles after `leave`. */
  readonly decision: Promise<Decision>;
  /** The client has gone: the place is the next one's at once, also where the call was granted in the same moment (Q5). Not to be called by who takes the decision. */
  leave(): void;
}

export type Admission = Decision | Waiting;
