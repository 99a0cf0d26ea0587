import { neverFits } from "../limits/combine.ts";
import type { Priority } from "../policy/policy.ts";
import { aheadOf, callsAhead } from "./ahead.ts";
import type { Contest } from "./contest.ts";
import { type Lane, mayOvertake, Ticket } from "./lane.ts";
import { bandOf, type PermitRequest, type RoomBounds, type Turned } from "./permit.ts";
import type { Attempt, PermitLimits } from "./permit-limits.ts";
import { Places } from "./places.ts";
import type { Flow } from "./service-order.ts";
import { type Standing, standingIn, standingsOf } from "./standing.ts";
import { Turns } from "./turns.ts";
import { withOne } from "./with-one.ts";

export type Entry<Outcome, Waiter extends Ticket = Ticket> =
  /** `isCounted`: whether its service was counted, so that its correction is wanted. */
  | { readonly kind: "granted"; readonly outcome: Outcome; readonly isCounted: boolean }
  /** `outcome` is there where the limits were asked. */
  | {
      readonly kind: "turned";
      readonly reason: Turned;
      readonly waitMs: number;
      readonly outcome: Outcome | undefined;
    }
  | { readonly kind: "waiting"; readonly ticket: Waiter; readonly expectedMs: number };

/** A call that was counted: by how much it used more (or less: negative) than its size. */
export interface Served {
  readonly flow: string;
  readonly priority: Priority;
  readonly correction: number;
}

/** As far as can be told. */
export interface Look {
  /** How many calls are served up to this one, itself included; 0 where it does not wait. */
  readonly position: number;
  readonly expectedMs: number;
}

/** What waits of a flow. */
export interface WaitingOf<Waiter> {
  readonly total: number;
  readonly first: readonly (Look & { readonly ticket: Waiter })[];
}

const NO_HEADS: readonly Ticket[] = [];

const plainTicket = <Waiter extends Ticket>(request: PermitRequest, nowMs: number): Waiter =>
  new Ticket(request, nowMs) as Waiter;

/** So many calls are served in one go, and so many woken: some milliseconds in which nothing else happens. */
const TURNS_MAX = 1_000;

/** A moving average over about ten calls. */
const SERVICE_GAIN = 0.1;

/**
 * The waiting room: who may go next. Higher priorities first, inside a priority the flow that has been served least, inside a flow first come first
 * served; a head that does not fit yet may be overtaken within a bound. Pure and synchronous: the time is an argument, and whoever owns the
 * room calls `pump` at `nextDueMs`. The same rules for Redis: src/stores/redis/room.lua.
 *
 * The bound (Q1): over any time in which two flows of a priority both have calls in line for the same limits, their service ÷ weight differs by at most
 * 2 · L ÷ w, with L the largest call and w the least weight of all who wait. For the least counter is served, and grows by at most L ÷ w; whoever overtakes it
 * stays below what it will have then; so all counters of one line are within L ÷ w of each other, before and after. (Sheng et al., OSDI 2024, for
 * one server that never has a head that does not fit.) Service is what was expected of a call; what it turned out to be is corrected when it ends.
 */
export class WaitingRoom<Outcome, Waiter extends Ticket = Ticket> {
  readonly #limits: PermitLimits<Outcome>;
  readonly #ticketOf: (request: PermitRequest, nowMs: number) => Waiter;
  readonly #places = new Places();
  readonly #turns: Turns<Outcome, Waiter>;
  readonly #turnsMax: number;

  /**
   * `granted` is called while another method runs, and must not call the room. `ticketOf` makes the ticket of a call that has to wait, for an owner who keeps more
   * in it. `turnsMax`: so many calls are served by one method call; `nextDueMs` is then at once.
   */
  constructor(
    limits: PermitLimits<Outcome>,
    granted: (ticket: Waiter, outcome: Outcome) => void,
    ticketOf: (request: PermitRequest, nowMs: number) => Waiter = plainTicket,
    turnsMax = TURNS_MAX,
  ) {
    this.#limits = limits;
    this.#turns = new Turns(limits, granted, this.#places, turnsMax);
    this.#turnsMax = turnsMax;
    this.#ticketOf = ticketOf;
  }

  /** How many calls wait. */
  get waiting(): number {
    return this.#places.waiting;
  }

  /** When `pump` is to be called, on the limits' clock; infinite while there is no need. */
  get nextDueMs(): number {
    return this.#places.nextDueMs;
  }

  /** Serves a call at once where it fits and is not in front of anybody, else lets it wait if it can be served in time. */
  enter(request: PermitRequest, bounds: RoomBounds, nowMs: number): Entry<Outcome, Waiter> {
    this.#turns.useMinShares(bounds.minShares);
    // The common case: nobody waits.
    let attempt = this.#places.waiting === 0 ? this.#limits.reserve(request, nowMs, false) : undefined;
    if (attempt?.kind === "granted") return { kind: "granted", outcome: attempt.outcome, isCounted: false };
    const band = bandOf(request.priority);
    const flow = this.#places.orders[band].candidate(request.flow, request.weight);
    const contest = this.#places.contests.of(request);
    const queued = this.#places.find(flow, contest, request);
    if (queued === undefined && attempt === undefined) {
      const overtaken = this.#overtakenBy(request, flow, contest);
      if (overtaken !== undefined) {
        attempt = this.#limits.reserve(request, nowMs, false);
        if (attempt.kind === "granted") {
          for (const head of overtaken) head.overtakeLeft -= request.size;
          this.#turns.count(flow, request.size);
          this.#places.contests.dropIdle(contest);
          return { kind: "granted", outcome: attempt.outcome, isCounted: true };
        }
      }
    }
    // Nobody waits for what will not come; the limits are asked what to say of it.
    if (attempt === undefined && neverFits(request.subjects))
      attempt = this.#limits.reserve(request, nowMs, false);
    const expectedMs = this.#expected(request, flow, attempt, nowMs, queued, contest);
    const turned = this.#turned(request, bounds, attempt, expectedMs);
    if (turned !== undefined) {
      this.#places.contests.dropIdle(contest);
      const waitMs = turned === "never_fits" ? 0 : Math.max(1, expectedMs);
      return { kind: "turned", reason: turned, waitMs, outcome: attempt?.outcome };
    }
    const ticket = this.#ticketOf(request, nowMs);
    this.#places.join(ticket, queued ?? this.#places.open(flow, contest));
    this.#turns.joined(ticket, attempt, nowMs);
    return { kind: "waiting", ticket, expectedMs };
  }

  /** The call does not wait any more. Who was behind it is next. */
  leave(ticket: Ticket, nowMs: number): void {
    const { lane } = ticket;
    if (lane === undefined) return;
    const wasHead = lane.head === ticket;
    this.#turns.remove(ticket);
    if (!wasHead) return;
    if (lane.length > 0 && lane.dueMs > 0) this.#places.wake(lane);
    // Those whom it held up may have held up others.
    this.#turns.dispatch(this.#places.contests.withRivals([lane.contest]), nowMs);
  }

  /**
   * Something was given back, or may have been, on these keys. `correction` is by how much a call of `flow` that was counted has used more or less than its
   * size, `openMs` how long it was open, where that is known.
   */
  freed(
    keys: readonly string[],
    served: Served | undefined,
    openMs: number | undefined,
    nowMs: number,
  ): void {
    const flow =
      served === undefined ? undefined : this.#places.orders[bandOf(served.priority)].find(served.flow);
    if (flow !== undefined && served !== undefined) {
      flow.unsettled -= 1;
      this.#places.recount(flow, served.correction);
    }
    if (this.#places.waiting === 0) return;
    let changed: Contest[] | undefined;
    for (const key of keys) {
      for (const lane of this.#places.sleepers(key)) {
        this.#places.wake(lane);
        changed = withOne(changed, lane.contest);
      }
      for (const contest of this.#places.contests.sharing(key)) {
        if (openMs !== undefined)
          contest.serviceMs += (contest.serviceMs === 0 ? 1 : SERVICE_GAIN) * (openMs - contest.serviceMs);
        changed = withOne(changed, contest);
      }
    }
    if (changed !== undefined) this.#turns.dispatch(changed, nowMs);
  }

  /** Serves whoever can be by now. */
  pump(nowMs: number): void {
    const changed = this.#places.takeDueLanes(nowMs, this.#turnsMax).map(({ contest }) => contest);
    changed.push(...this.#places.takeDueContests(nowMs));
    this.#turns.dispatch(changed, nowMs);
  }

  /** The first calls of a flow that wait, at most `max`, in the order in which they came, and how many wait in all. */
  lookAll(flow: string, priority: Priority, max: number, nowMs: number): WaitingOf<Waiter> {
    const known = this.#places.orders[bandOf(priority)].find(flow);
    const first: (Look & { ticket: Waiter })[] = [];
    if (known === undefined) return { total: 0, first };
    for (const standing of standingsOf(known)) {
      if (first.length === max) break;
      first.push({ ticket: standing.ticket as Waiter, ...this.#lookAt(standing, nowMs) });
    }
    return { total: known.waiting, first };
  }

  look(ticket: Ticket, nowMs: number): Look {
    const { lane } = ticket;
    return lane === undefined
      ? { position: 0, expectedMs: 0 }
      : this.#lookAt(standingIn(lane, ticket), nowMs);
  }

  #lookAt({ ticket: { request }, lane, before, needs }: Standing, nowMs: number): Look {
    const ahead = aheadOf(request, lane.flow, lane.contest, needs, 0, true);
    const { serviceMs } = lane.contest;
    return {
      position: callsAhead(lane, before) + 1,
      expectedMs: this.#limits.expectedWait(request, ahead, serviceMs, nowMs),
    };
  }

  /**
   * The heads that a call would overtake if it went now; undefined where one of them forbids it. Whoever is first in line has been tried, and did not
   * fit.
   */
  #overtakenBy(request: PermitRequest, flow: Flow, contest: Contest): readonly Ticket[] | undefined {
    if (contest.shared.length === 0 || this.#places.waiting === 0) return NO_HEADS;
    const isOwed = this.#turns.isOwed();
    if (flow.band === 0 && !isOwed) return NO_HEADS;
    const heads: Ticket[] = [];
    for (const rival of this.#places.contests.rivalsOf(contest)) {
      const first = rival.best();
      if (first === undefined) continue;
      const isAhead =
        isOwed ||
        first.flow.band < flow.band ||
        (first.flow.band === flow.band && first.flow.counter <= flow.counter);
      if (!isAhead) continue;
      if (!mayOvertake(flow, request.size, first)) return undefined;
      heads.push(first.head);
    }
    return heads;
  }

  /** How long the call will wait, as far as can be told. */
  #expected(
    request: PermitRequest,
    flow: Flow,
    attempt: Attempt<Outcome> | undefined,
    nowMs: number,
    queued: Lane | undefined,
    contest: Contest,
  ): number {
    if (attempt?.kind === "never_fits") return 0;
    const joining = queued === undefined ? flow.weight : 0;
    const ahead = aheadOf(request, flow, contest, queued?.needs, joining, false);
    const expectedMs = this.#limits.expectedWait(request, ahead, contest.serviceMs, nowMs);
    // For concurrency nobody can foretell the wait: then only what is known of it may turn a call away.
    return expectedMs === 0 && attempt?.kind === "refused"
      ? Math.min(attempt.waitMs, request.maxWaitMs)
      : expectedMs;
  }

  /** Why a call that would wait for so long may not; undefined where it may. */
  #turned(
    request: PermitRequest,
    bounds: RoomBounds,
    attempt: Attempt<Outcome> | undefined,
    waitMs: number,
  ): Turned | undefined {
    if (attempt?.kind === "never_fits") return "never_fits";
    if (waitMs > request.maxWaitMs || request.maxWaitMs === 0) return "limited";
    const own = this.#places.waitingOf(request.flow);
    const isFull =
      this.#places.waiting >= bounds.waitingMax ||
      own.waiting >= bounds.waitingPerFlowMax ||
      this.#places.bytes + request.bytes > bounds.bytesMax ||
      own.bytes + request.bytes > bounds.bytesPerFlowMax;
    return isFull ? "queue_full" : undefined;
  }
}
