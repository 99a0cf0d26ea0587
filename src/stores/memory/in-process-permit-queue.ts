import type { PermitRequest, RoomBounds } from "../../core/fairness/permit.ts";
import type { Attempt } from "../../core/fairness/permit-limits.ts";
import { RoomTime } from "../../core/fairness/room-time.ts";
import { WaitingRoom } from "../../core/fairness/waiting-room.ts";
import type { Priority } from "../../core/policy/policy.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ReserveOutcome } from "../../ports/limit-store.ts";
import {
  type FreedRequest,
  LOOK_MAX,
  type PermitCall,
  type PermitDecision,
  type PermitQueue,
  type WaitingOfFlow,
  type WaitingPermit,
} from "../../ports/permit-queue.ts";
import type { CounterTable } from "./counter-table.ts";
import { Deadlines, TIMER_MS_MAX } from "./deadlines.ts";
import { WaitingCall } from "./waiting-call.ts";

type Admitted = Extract<ReserveOutcome, { readonly kind: "admitted" }>;
type Granted = Extract<PermitDecision, { readonly kind: "granted" }>;

/** The commits of a store whose changes take a while to be as durable as promised. */
export interface Commits {
  /** Throws `store_unavailable` where nothing may be decided at the moment. */
  assertUsable(): void;
  /**
   * When everything that was decided so far is durable: one promise for all of that; undefined where it is. Rejects with `store_unavailable` where it is not known to
   * become so.
   */
  committed(): Promise<void> | undefined;
}

/** Which subject a charge belongs to. */
function subjectOf({ subjects }: PermitRequest, charge: number): number {
  let rest = charge;
  for (let i = 0; i < subjects.length; i++) {
    rest -= subjects[i].charges.length;
    if (rest < 0) return i;
  }
  throw new RangeError(`a call without a charge ${charge}`);
}

/** What the limits said, as the room asks it. */
export function attemptOf(request: PermitRequest, outcome: ReserveOutcome): Attempt<ReserveOutcome> {
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

/** Grants that become durable together. */
interface Batch {
  readonly commit: Promise<void>;
  readonly calls: WaitingCall[];
  readonly decisions: Granted[];
}

/** The waiting room of one process, over the counters that it keeps in memory: for the memory store and the embedded store. */
export class InProcessPermitQueue implements PermitQueue {
  readonly #clock: Clock;
  readonly #time = new RoomTime();
  readonly #commits: Commits | undefined;
  readonly #room: WaitingRoom<ReserveOutcome, WaitingCall>;
  readonly #table: CounterTable;
  readonly #deadlines = new Deadlines<WaitingCall>((call) => this.#timeOut(call));
  readonly #left = (call: WaitingCall): void => this.#leave(call);
  #batch: Batch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  /** Without `commits` what is decided is as durable as it will be. */
  constructor(table: CounterTable, clock: Clock, commits?: Commits) {
    this.#table = table;
    this.#clock = clock;
    this.#commits = commits;
    this.#room = new WaitingRoom<ReserveOutcome, WaitingCall>(
      {
        reserve: (request, nowMs, waits) =>
          attemptOf(request, table.reserve(request as PermitCall, this.#time.clockAt(nowMs), !waits)),
        expectedWait: (request, ahead, serviceMs, nowMs) =>
          table.expectedWait(request.subjects, ahead, serviceMs, this.#time.clockAt(nowMs)),
      },
      (call, outcome) => this.#grant(call, outcome as Admitted),
      (request, nowMs) => new WaitingCall(request, nowMs, this.#left),
    );
  }

  async enter(
    call: PermitCall,
    bounds: RoomBounds,
  ): Promise<Exclude<PermitDecision, { readonly kind: "timed_out" }> | WaitingPermit> {
    this.#commits?.assertUsable();
    const entry = this.#room.enter(call, bounds, this.#nowMs());
    switch (entry.kind) {
      case "granted":
        try {
          await this.#commits?.committed();
        } catch (error) {
          if (entry.isCounted) this.#uncount(call);
          throw error;
        }
        return { kind: "granted", outcome: entry.outcome as Admitted, isCounted: entry.isCounted };
      case "turned":
        return { kind: "refused", reason: entry.reason, waitMs: entry.waitMs, outcome: entry.outcome };
      case "waiting":
        entry.ticket.expectedMs = entry.expectedMs;
        this.#deadlines.add(entry.ticket, call.maxWaitMs);
        this.#arm();
        return entry.ticket;
    }
  }

  freed({ keys, served, openMs }: FreedRequest): void {
    this.#room.freed(keys, served, openMs, this.#nowMs());
    this.#arm();
  }

  async look(flow: string, priority: Priority): Promise<WaitingOfFlow> {
    const nowMs = this.#nowMs();
    const { total, first } = this.#room.lookAll(flow, priority, LOOK_MAX, nowMs);
    const shown = first.map(({ ticket, position, expectedMs }) => ({
      waitedMs: nowMs - ticket.enteredMs,
      position,
      expectedMs,
    }));
    return { total, first: shown };
  }

  /** What the timer does: for tests that set the clock themselves. */
  pump(): void {
    this.#room.pump(this.#nowMs());
    this.#arm();
  }

  /** When `pump` has something to do, by the room's time; infinite while there is nothing. */
  get nextDueMs(): number {
    return this.#room.nextDueMs;
  }

  /** Ends every wait with `error`. */
  close(error: Error): void {
    clearTimeout(this.#timer);
    for (const call of this.#deadlines.clear()) call.fail(error);
  }

  #grant(call: WaitingCall, outcome: Admitted): void {
    if (call.state !== "waiting") throw new Error("a permit for a call that does not wait");
    this.#deadlines.remove(call);
    const decision = { kind: "granted", outcome, isCounted: true } as const;
    const commit = this.#commits?.committed();
    if (commit === undefined) {
      call.decide(decision);
      return;
    }
    call.state = "committing";
    const batch = this.#batchOf(commit);
    batch.calls.push(call);
    batch.decisions.push(decision);
  }

  #batchOf(commit: Promise<void>): Batch {
    if (this.#batch?.commit === commit) return this.#batch;
    const batch: Batch = { commit, calls: [], decisions: [] };
    this.#batch = batch;
    commit.then(
      () => this.#committed(batch),
      (error: unknown) => {
        for (const call of batch.calls) {
          this.#uncount(call.request);
          call.fail(error);
        }
      },
    );
    return batch;
  }

  #committed({ calls, decisions }: Batch): void {
    for (const [i, call] of calls.entries()) {
      if (call.state === "left") this.#giveBack(call);
      else call.decide(decisions[i]);
    }
  }

  #leave(call: WaitingCall): void {
    if (call.state === "committing") call.state = "left";
    else this.#take(call);
  }

  /** Nobody has got what was granted: its service was counted for nothing. What it holds, its caller gives back. */
  #uncount({ flow, priority, size }: PermitRequest): void {
    this.freed({ keys: [], served: { flow, priority, correction: -size }, openMs: undefined });
  }

  /** Nobody wants what was granted. */
  #giveBack({ request }: WaitingCall): void {
    const { id, subjects, flow, priority, size } = request as PermitCall;
    this.#table.release({ id, subjects }, this.#clock.nowMs());
    this.freed({
      keys: subjects.map(({ key }) => key),
      served: { flow, priority, correction: -size },
      openMs: undefined,
    });
  }

  #timeOut(call: WaitingCall): void {
    const { expectedMs } = this.#room.look(call, this.#nowMs());
    if (this.#take(call)) call.decide({ kind: "timed_out", waitMs: Math.max(1, expectedMs) });
  }

  /** Takes a call out of the room. False where it does not wait any more. */
  #take(call: WaitingCall): boolean {
    if (call.state !== "waiting") return false;
    call.state = "left";
    this.#deadlines.remove(call);
    this.#room.leave(call, this.#nowMs());
    this.#arm();
    return true;
  }

  /** By the room's time. */
  #nowMs(): number {
    return this.#time.at(this.#clock.nowMs());
  }

  /** One timer, for the next moment that is known. Where that moves on, as it does with every grant, the timer is left to fire in vain. */
  #arm(): void {
    const dueMs = this.#room.nextDueMs;
    if (dueMs === Number.POSITIVE_INFINITY) {
      clearTimeout(this.#timer);
      this.#timerMs = dueMs;
      return;
    }
    if (dueMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = dueMs;
    const inMs = Math.min(TIMER_MS_MAX, Math.max(0, dueMs - this.#nowMs()));
    this.#timer = setTimeout(() => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.pump();
    }, inMs);
  }
}
