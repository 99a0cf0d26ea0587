import { neverFits } from "../limits/combine.ts";
import type { Priority } from "../policy/policy.ts";
import { aheadOf, asksForLess, callsAhead } from "./ahead.ts";
import type { Contest } from "./contest.ts";
import { isServedBefore, type Lane, mayOvertake, Ticket } from "./lane.ts";
import { MinimumShares } from "./minimum-shares.ts";
import { bandOf, type PermitRequest, PRIORITIES, type RoomBounds, type Turned } from "./permit.ts";
import { Places } from "./places.ts";
import type { Flow } from "./service-order.ts";
import { type Standing, standingIn, standingsOf } from "./standing.ts";

/** What the room asks of the limits: synchronous. */
export interface PermitLimits<Outcome> {
  /** Holds everything that the call asks for, or nothing. `waits`: it is in the room already, where nobody reads the outcome of a refusal. */
  reserve(request: PermitRequest, nowMs: number, waits: boolean): Attempt<Outcome>;
  /** As `expectedWait` of core/limits. */
  expectedWait(request: PermitRequest, ahead: readonly number[], serviceMs: number, nowMs: number): number;
}

export type Attempt<Outcome> =
  | { readonly kind: "granted"; readonly outcome: Outcome }
  | { readonly kind: "never_fits"; readonly outcome: Outcome }
  /** `limiting` is the subject in whose way it is longest. */
  | {
      readonly kind: "refused";
      readonly outcome: Outcome;
      readonly waitMs: number;
      readonly limiting: number;
    };

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

/** So many who are next in line are tried before a head that does not fit, besides the smallest of all. */
const LOOKAHEAD = 4;

/** A head that the limit under `key` has no room for yet. */
interface Saved {
  readonly head: Ticket;
  readonly contest: Contest;
  readonly key: string;
}

const NO_SAVED: readonly Saved[] = [];
const NO_HEADS: readonly Ticket[] = [];

const plainTicket = <Waiter extends Ticket>(request: PermitRequest, nowMs: number): Waiter =>
  new Ticket(request, nowMs) as Waiter;

/** A list of one is made as such: one that grows is made for many. */
function withOne<T>(list: T[] | undefined, one: T): T[] {
  if (list === undefined) return [one];
  if (list[list.length - 1] !== one) list.push(one);
  return list;
}

/** A moving average over about ten calls. */
const SERVICE_GAIN = 0.1;

/** The order of the others does not matter. */
function removeAt(contests: Contest[], index: number): void {
  const last = contests.pop() as Contest;
  if (index < contests.length) contests[index] = last;
}

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
  readonly #granted: (ticket: Waiter, outcome: Outcome) => void;
  readonly #ticketOf: (request: PermitRequest, nowMs: number) => Waiter;
  readonly #places = new Places();
  readonly #shares = new MinimumShares(PRIORITIES.length);
  #minShares: readonly number[] = PRIORITIES.map(() => 0);
  /** Who may overtake: one list for all looks, which are many. */
  readonly #found: Lane[] = [];
  readonly #isInLine = (band: number): boolean => this.#places.inLine(band) > 0;

  /**
   * `granted` is called while another method runs, and must not call the room. `ticketOf` makes the ticket of a call that has to wait, for an owner who keeps more
   * in it.
   */
  constructor(
    limits: PermitLimits<Outcome>,
    granted: (ticket: Waiter, outcome: Outcome) => void,
    ticketOf: (request: PermitRequest, nowMs: number) => Waiter = plainTicket,
  ) {
    this.#limits = limits;
    this.#granted = granted;
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
    this.#minShares = bounds.minShares;
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
          this.#count(flow, request.size);
          this.#places.contests.dropIdle(contest);
          return { kind: "granted", outcome: attempt.outcome, isCounted: true };
        }
      }
    }
    // Nobody waits for what will not come; the limits are asked what to say of it.
    if (attempt === undefined && neverFits(request.subjects))
      attempt = this.#limits.reserve(request, nowMs, false);
    const expectedMs = this.#expected(request, flow, attempt, nowMs, queued, contest);
    const turned = this.#turned(request, flow, bounds, attempt, expectedMs);
    if (turned !== undefined) {
      this.#places.contests.dropIdle(contest);
      const waitMs = turned === "never_fits" ? 0 : Math.max(1, expectedMs);
      return { kind: "turned", reason: turned, waitMs, outcome: attempt?.outcome };
    }
    const ticket = this.#ticketOf(request, nowMs);
    this.#join(ticket, queued ?? this.#places.open(flow, contest), attempt, nowMs);
    return { kind: "waiting", ticket, expectedMs };
  }

  /** The call does not wait any more. Who was behind it is next. */
  leave(ticket: Ticket, nowMs: number): void {
    const { lane } = ticket;
    if (lane === undefined) return;
    const wasHead = lane.head === ticket;
    this.#remove(ticket);
    if (!wasHead) return;
    if (lane.length > 0 && lane.dueMs > 0) this.#places.wake(lane);
    // Those whom it held up may have held up others.
    this.#dispatch(this.#places.contests.withRivals([lane.contest]), nowMs);
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
    if (changed !== undefined) this.#dispatch(changed, nowMs);
  }

  /** Serves whoever can be by now. */
  pump(nowMs: number): void {
    const changed = this.#places.takeDueLanes(nowMs).map(({ contest }) => contest);
    changed.push(...this.#places.takeDueContests(nowMs));
    this.#dispatch(changed, nowMs);
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
    const isOwed = this.#owedBand(this.#places.contests.all) !== undefined;
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
    flow: Flow,
    bounds: RoomBounds,
    attempt: Attempt<Outcome> | undefined,
    waitMs: number,
  ): Turned | undefined {
    if (attempt?.kind === "never_fits") return "never_fits";
    if (waitMs > request.maxWaitMs || request.maxWaitMs === 0) return "limited";
    const isFull =
      this.#places.waiting >= bounds.waitingMax ||
      flow.waiting >= bounds.waitingPerFlowMax ||
      this.#places.bytes + request.bytes > bounds.bytesMax ||
      flow.bytes + request.bytes > bounds.bytesPerFlowMax;
    return isFull ? "queue_full" : undefined;
  }

  #join(ticket: Ticket, lane: Lane, attempt: Attempt<Outcome> | undefined, nowMs: number): void {
    const { request } = ticket;
    const { flow, contest } = lane;
    this.#places.join(ticket, lane);
    this.#shares.joined(flow.band, request.size);
    if (lane.length > 1) return;
    if (attempt?.kind === "refused") this.#blocked(lane, attempt, nowMs);
    // Behind somebody who is waited for; where that is not so any more, its turn is now.
    else if (contest.dueMs === 0) this.#places.setDue(contest, nowMs);
  }

  /** Serves who is next in these contests until nobody fits. What fits one may be the turn of somebody in another. */
  #dispatch(changed: readonly Contest[], nowMs: number): void {
    let saved: Saved[] | undefined;
    const contests = this.#places.contests.withRivals(changed);
    for (const contest of contests) this.#places.setDue(contest, 0);
    for (;;) {
      const lane = this.#next(contests);
      if (lane === undefined) return;
      const { contest, head } = lane;
      const attempt = this.#try(lane, nowMs);
      if (attempt.kind === "granted") {
        for (const one of saved ?? NO_SAVED) {
          if (!contest.shared.includes(one.key)) continue;
          one.head.overtakeLeft -= head.request.size;
          if (one.head.overtakeLeft <= 0) this.#close(contests, one);
        }
        continue;
      }
      if (lane.dueMs > 0) continue;
      removeAt(contests, contests.indexOf(contest));
      const limiting = attempt.kind === "refused" ? attempt.limiting : 0;
      const { key } = head.request.subjects[limiting];
      this.#overtake(lane, key, nowMs);
      if (contests.length === 0) return;
      const one: Saved = { head, contest, key };
      if (head.overtakeLeft > 0) saved = withOne(saved, one);
      else this.#close(contests, one);
    }
  }

  /** What is shared is saved for somebody: nobody else is served from it before. */
  #close(contests: Contest[], { key, contest: first }: Saved): void {
    for (let i = contests.length - 1; i >= 0; i--) {
      const contest = contests[i];
      if (!contest.shared.includes(key)) continue;
      removeAt(contests, i);
      if (contest.best() !== undefined) this.#places.setDue(contest, first.dueMs);
    }
  }

  /** Who is next: one that is owed, or else the first. */
  #next(contests: readonly Contest[]): Lane | undefined {
    const owed = this.#owedBand(contests);
    let best: Lane | undefined;
    for (const contest of contests) {
      const lane = owed === undefined ? contest.best() : contest.first(owed);
      if (lane !== undefined && (best === undefined || isServedBefore(lane, best))) best = lane;
    }
    return best;
  }

  #owedBand(contests: readonly Contest[]): number | undefined {
    for (let band = PRIORITIES.length - 1; band > 0; band--) {
      if (this.#places.inLine(band) === 0) continue;
      let best: Lane | undefined;
      for (const contest of contests) {
        const lane = contest.first(band);
        if (lane !== undefined && (best === undefined || isServedBefore(lane, best))) best = lane;
      }
      if (best !== undefined && this.#shares.isOwed(band, best.head.request.size)) return band;
    }
    return undefined;
  }

  /** Serves smaller calls in front of a head that has to wait for room under `key`, as far as it can be asked to let them. */
  #overtake(lane: Lane, key: string, nowMs: number): void {
    const { contest, head } = lane;
    if (!contest.mayAskForLess(head.request, key)) return;
    // What is as large as something that did not fit does not fit either.
    let failed = head.request.size;
    while (head.overtakeLeft > 0) {
      let served = false;
      const others = this.#overtakers(lane);
      for (const other of others) {
        const { size } = other.head.request;
        if (size >= failed || !asksForLess(other.head.request, head.request, key)) continue;
        if (!mayOvertake(other.flow, size, lane)) continue;
        const attempt = this.#try(other, nowMs);
        if (attempt.kind === "granted") {
          head.overtakeLeft -= size;
          served = true;
          break;
        }
        if (other.dueMs === 0) failed = size;
      }
      if (!served || contest.smallest.size === 0) return;
    }
  }

  /** Those who are next in line behind a head, and the smallest. */
  #overtakers({ contest, flow }: Lane): Lane[] {
    const found = this.#found;
    found.length = 0;
    for (let band = flow.band; band < contest.ready.length && found.length < LOOKAHEAD; band++) {
      const heap = contest.ready[band];
      if (band !== flow.band && heap.first !== undefined) found.push(heap.first);
      heap.next(LOOKAHEAD - found.length, found);
    }
    const smallest = contest.smallest.first;
    if (smallest !== undefined && !found.includes(smallest)) found.push(smallest);
    return found;
  }

  /** Serves the lane's head if it fits; else says what it waits for. */
  #try(lane: Lane, nowMs: number): Attempt<Outcome> {
    const { head, flow } = lane;
    const attempt = this.#limits.reserve(head.request, nowMs, true);
    if (attempt.kind === "granted") {
      this.#remove(head);
      this.#count(flow, head.request.size);
      this.#granted(head as Waiter, attempt.outcome);
    } else {
      this.#blocked(lane, attempt, nowMs);
    }
    return attempt;
  }

  /** A head that waits for its own limits sleeps; one that waits for what is shared stays first in line. */
  #blocked(lane: Lane, attempt: Attempt<Outcome>, nowMs: number): void {
    const { request } = lane.head;
    const waitMs = attempt.kind === "refused" ? Math.max(1, attempt.waitMs) : request.maxWaitMs;
    if (attempt.kind === "refused" && request.isShared[attempt.limiting]) {
      const { contest } = lane;
      const dueMs = nowMs + waitMs;
      if (contest.dueMs <= nowMs || dueMs < contest.dueMs) this.#places.setDue(contest, dueMs);
      return;
    }
    this.#places.sleep(lane, nowMs + waitMs);
  }

  #remove(ticket: Ticket): void {
    const { band } = (ticket.lane as Lane).flow;
    this.#places.remove(ticket);
    if (this.#places.orders[band].waiting === 0) this.#shares.emptied(band);
  }

  /** Counts a call that is served while others wait. */
  #count(flow: Flow, size: number): void {
    flow.unsettled += 1;
    this.#places.recount(flow, size);
    this.#shares.served(flow.band, size, this.#minShares, this.#isInLine);
  }
}
