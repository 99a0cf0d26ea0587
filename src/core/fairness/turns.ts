import { asksForLess } from "./ahead.ts";
import type { Contest } from "./contest.ts";
import { isServedBefore, type Lane, mayOvertake, type Ticket } from "./lane.ts";
import { MinimumShares } from "./minimum-shares.ts";
import { PRIORITIES } from "./permit.ts";
import type { Attempt, PermitLimits } from "./permit-limits.ts";
import type { Places } from "./places.ts";
import type { Flow } from "./service-order.ts";
import { withOne } from "./with-one.ts";

/** So many who are next in line are tried before a head that does not fit, besides the smallest of all. */
const LOOKAHEAD = 4;

/** A head that the limit under `key` has no room for yet. */
interface Saved {
  readonly head: Ticket;
  readonly contest: Contest;
  readonly key: string;
}

const NO_SAVED: readonly Saved[] = [];

/** The order of the others does not matter. */
function removeAt(contests: Contest[], index: number): void {
  const last = contests.pop() as Contest;
  if (index < contests.length) contests[index] = last;
}

/**
 * Whose turn it is among those who wait: serves them one after the other, until nobody fits. Higher priorities first, or one that is owed; inside a priority the flow that has been
 * served least; a head that does not fit may be overtaken within its bound, and what is saved for it is closed to others.
 */
export class Turns<Outcome, Waiter extends Ticket> {
  readonly #limits: PermitLimits<Outcome>;
  readonly #granted: (ticket: Waiter, outcome: Outcome) => void;
  readonly #places: Places;
  readonly #shares = new MinimumShares(PRIORITIES.length);
  #minShares: readonly number[] = PRIORITIES.map(() => 0);
  /** Who may overtake: one list for all looks, which are many. */
  readonly #found: Lane[] = [];
  readonly #isInLine = (band: number): boolean => this.#places.inLine(band) > 0;

  /** `granted` is called while another method runs, and must not call the room. */
  constructor(
    limits: PermitLimits<Outcome>,
    granted: (ticket: Waiter, outcome: Outcome) => void,
    places: Places,
  ) {
    this.#limits = limits;
    this.#granted = granted;
    this.#places = places;
  }

  /** From now on lower priorities are owed these shares. */
  useMinShares(minShares: readonly number[]): void {
    this.#minShares = minShares;
  }

  /** A call has come to wait; `attempt` is what the limits said of it, where they were asked. */
  joined({ request, lane }: Ticket, attempt: Attempt<Outcome> | undefined, nowMs: number): void {
    const { flow, contest, length } = lane as Lane;
    this.#shares.joined(flow.band, request.size);
    if (length > 1) return;
    if (attempt?.kind === "refused") this.blocked(lane as Lane, attempt, nowMs);
    // Behind somebody who is waited for; where that is not so any more, its turn is now.
    else if (contest.dueMs === 0) this.#places.setDue(contest, nowMs);
  }

  /** Serves who is next in these contests until nobody fits. What fits one may be the turn of somebody in another. */
  dispatch(changed: readonly Contest[], nowMs: number): void {
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
    const owed = this.owedBand(contests);
    let best: Lane | undefined;
    for (const contest of contests) {
      const lane = owed === undefined ? contest.best() : contest.first(owed);
      if (lane !== undefined && (best === undefined || isServedBefore(lane, best))) best = lane;
    }
    return best;
  }

  /** The lowest band that is owed a call, of those that have a call in line in these contests. */
  owedBand(contests: readonly Contest[]): number | undefined {
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
      this.remove(head);
      this.count(flow, head.request.size);
      this.#granted(head as Waiter, attempt.outcome);
    } else {
      this.blocked(lane, attempt, nowMs);
    }
    return attempt;
  }

  /** A head that waits for its own limits sleeps; one that waits for what is shared stays first in line. */
  blocked(lane: Lane, attempt: Attempt<Outcome>, nowMs: number): void {
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

  /** A call waits no more. */
  remove(ticket: Ticket): void {
    const { band } = (ticket.lane as Lane).flow;
    this.#places.remove(ticket);
    if (this.#places.orders[band].waiting === 0) this.#shares.emptied(band);
  }

  /** Counts a call that is served while others wait. */
  count(flow: Flow, size: number): void {
    flow.unsettled += 1;
    this.#places.recount(flow, size);
    this.#shares.served(flow.band, size, this.#minShares, this.#isInLine);
  }
}
