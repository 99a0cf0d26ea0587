import type { Ticket } from "../../core/fairness/lane.ts";
import type { PermitRequest, RoomBounds } from "../../core/fairness/permit.ts";
import { type Attempt, type Entry, WaitingRoom } from "../../core/fairness/waiting-room.ts";
import type { Priority } from "../../core/policy/policy.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ReserveOutcome } from "../../ports/limit-store.ts";
import type {
  FreedRequest,
  PermitCall,
  PermitDecision,
  PermitQueue,
  WaitingCall,
  WaitingPermit,
} from "../../ports/permit-queue.ts";
import type { CounterTable } from "./counter-table.ts";

type Admitted = Extract<ReserveOutcome, { readonly kind: "admitted" }>;
type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;

/** A call that waits, and who is to be told. */
interface Waiting {
  readonly decided: (decision: Decided) => void;
  readonly failed: (error: unknown) => void;
  readonly deadline: NodeJS.Timeout;
}

/** A store whose changes take a while to be as durable as promised. */
export interface Durability {
  /** Throws `store_unavailable` where nothing may be decided at the moment. */
  assertUsable(): void;
  /** When everything that was decided so far is durable; rejects with `store_unavailable` where it is not known to become so. */
  committed(): Promise<void>;
}

/** Beyond this a timer would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Which subject a charge belongs to. */
function subjectOf({ subjects }: PermitRequest, charge: number): number {
  let rest = charge;
  for (let i = 0; i < subjects.length; i++) {
    rest -= subjects[i].charges.length;
    if (rest < 0) return i;
  }
  throw new RangeError(`a call without a charge ${charge}`);
}

function attemptOf(request: PermitRequest, outcome: ReserveOutcome): Attempt<ReserveOutcome> {
  switch (outcome.kind) {
    case "admitted":
      return { kind: "granted", outcome };
    case "refused":
      return {
        kind: "refused",
        outcome,
        waitMs: outcome.waitMs,
        limiting: subjectOf(request, outcome.limiting),
      };
    case "never_fits":
      return { kind: "never_fits", outcome };
    case "closed":
      throw new Error("a call enters under an id that is closed: ids are not unique");
  }
}

/** The waiting room of one process, over the counters that it keeps in memory: for the memory store and the embedded store. */
export class InProcessPermitQueue implements PermitQueue {
  readonly #clock: Clock;
  readonly #durability: Durability | undefined;
  readonly #room: WaitingRoom<ReserveOutcome>;
  readonly #table: CounterTable;
  readonly #waiting = new Map<Ticket, Waiting>();
  /** Granted, and not yet as durable as promised: whoever leaves meanwhile has nothing to give back. */
  readonly #committing = new Set<Ticket>();
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  /** Without a `durability` what is decided is as durable as it will be. */
  constructor(table: CounterTable, clock: Clock, durability?: Durability) {
    this.#table = table;
    this.#clock = clock;
    this.#durability = durability;
    this.#room = new WaitingRoom<ReserveOutcome>(
      {
        reserve: (request, nowMs) => attemptOf(request, table.reserve(request as PermitCall, nowMs)),
        expectedWait: (request, ahead, serviceMs, nowMs) =>
          table.expectedWait(request.subjects, ahead, serviceMs, nowMs),
      },
      (ticket, outcome) => this.#grant(ticket, outcome as Admitted),
    );
  }

  async enter(
    call: PermitCall,
    bounds: RoomBounds,
  ): Promise<Exclude<PermitDecision, { readonly kind: "timed_out" }> | WaitingPermit> {
    this.#durability?.assertUsable();
    const entry = this.#room.enter(call, bounds, this.#clock.nowMs());
    switch (entry.kind) {
      case "granted":
        await this.#durability?.committed();
        return { kind: "granted", outcome: entry.outcome as Admitted, isCounted: entry.isCounted };
      case "turned":
        return { kind: "refused", reason: entry.reason, waitMs: entry.waitMs, outcome: entry.outcome };
      case "waiting":
        return this.#wait(call, entry);
    }
  }

  freed({ keys, served, openMs }: FreedRequest): void {
    this.#room.freed(keys, served, openMs, this.#clock.nowMs());
    this.#arm();
  }

  async look(flow: string, priority: Priority): Promise<readonly WaitingCall[]> {
    const nowMs = this.#clock.nowMs();
    const calls: WaitingCall[] = [];
    for (const ticket of this.#waiting.keys()) {
      if (ticket.request.flow !== flow || ticket.request.priority !== priority) continue;
      calls.push({ waitedMs: nowMs - ticket.enteredMs, ...this.#room.look(ticket, nowMs) });
    }
    return calls;
  }

  /** What the timer does: for tests that set the clock themselves. */
  pump(): void {
    this.#room.pump(this.#clock.nowMs());
    this.#arm();
  }

  /** When `pump` has something to do, on the clock; infinite while there is nothing. */
  get nextDueMs(): number {
    return this.#room.nextDueMs;
  }

  /** Ends every wait with `error`. */
  close(error: Error): void {
    clearTimeout(this.#timer);
    for (const { deadline, failed } of this.#waiting.values()) {
      clearTimeout(deadline);
      failed(error);
    }
    this.#waiting.clear();
  }

  #wait(
    call: PermitCall,
    { ticket, expectedMs }: Extract<Entry<ReserveOutcome>, { kind: "waiting" }>,
  ): WaitingPermit {
    const { promise, resolve, reject } = Promise.withResolvers<Decided>();
    const deadline = setTimeout(() => this.#timeOut(ticket), Math.min(call.maxWaitMs, TIMER_MS_MAX));
    this.#waiting.set(ticket, { decided: resolve, failed: reject, deadline });
    this.#arm();
    return { kind: "waiting", expectedMs, decision: promise, leave: () => this.#leave(ticket) };
  }

  #grant(ticket: Ticket, outcome: Admitted): void {
    const waiting = this.#waiting.get(ticket);
    if (waiting === undefined) throw new Error("a permit for a call that does not wait");
    this.#waiting.delete(ticket);
    clearTimeout(waiting.deadline);
    const decision = { kind: "granted", outcome, isCounted: true } as const;
    const committed = this.#durability?.committed();
    if (committed === undefined) {
      waiting.decided(decision);
      return;
    }
    this.#committing.add(ticket);
    committed.then(
      () => (this.#committing.delete(ticket) ? waiting.decided(decision) : this.#giveBack(ticket)),
      (error: unknown) => {
        this.#committing.delete(ticket);
        waiting.failed(error);
      },
    );
  }

  #leave(ticket: Ticket): void {
    if (this.#take(ticket) === undefined) this.#committing.delete(ticket);
  }

  /** Nobody wants what was granted. */
  #giveBack({ request }: Ticket): void {
    const { id, subjects, flow, priority, size } = request as PermitCall;
    const nothing = subjects.map(({ key, charges }) => ({
      key,
      charges: charges.map(({ spec }) => ({ spec, actual: 0 })),
    }));
    this.#table.release({ id, subjects: nothing }, this.#clock.nowMs());
    this.freed({
      keys: subjects.map(({ key }) => key),
      served: { flow, priority, correction: -size },
      openMs: undefined,
    });
  }

  #timeOut(ticket: Ticket): void {
    const { expectedMs } = this.#room.look(ticket, this.#clock.nowMs());
    this.#take(ticket)?.decided({ kind: "timed_out", waitMs: Math.max(1, expectedMs) });
  }

  /** Undefined where it does not wait any more. */
  #take(ticket: Ticket): Waiting | undefined {
    const waiting = this.#waiting.get(ticket);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(ticket);
    clearTimeout(waiting.deadline);
    this.#room.leave(ticket, this.#clock.nowMs());
    this.#arm();
    return waiting;
  }

  /** One timer, for the next moment that is known. */
  #arm(): void {
    const dueMs = this.#room.nextDueMs;
    if (dueMs === this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = dueMs;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const inMs = Math.min(TIMER_MS_MAX, Math.max(0, dueMs - this.#clock.nowMs()));
    this.#timer = setTimeout(() => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.pump();
    }, inMs);
  }
}
