import { asksForLess } from "./ahead.ts";
import type { Contest } from "./contest.ts";
import { type Lane, mayOvertake, type Ticket } from "./lane.ts";
import { MinimumShares } from "./minimum-shares.ts";
import { PRIORITIES } from "./permit.ts";
import type { Attempt, PermitLimits } from "./permit-limits.ts";
import type { Places } from "./places.ts";
import { firstAmong, Ranking } from "./ranking.ts";
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
  readonly #turnsMax: number;
  /** How many more calls this dispatch may serve. */
  #turnsLeft = 0;
  /** Who may overtake: one list for all looks, which are many. */
  readonly #found: Lane[] = [];
  readonly #isInLine = (band: number): boolean => this.#places.inLine(band) > 0;

  /** `granted` is called while another method runs, and must not call the room. At most `turnsMax` are served by one dispatch. */
  constructor(
    limits: PermitLimits<Outcome>,
    granted: (ticket: Waiter, outcome: Outcome) => void,
    places: Places,
    turnsMax: number,
  ) {
    this.#turnsMax = turnsMax;
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

  /** Serves who is next in these contests until nobody fits, or enough are served in one go. What fits one may be the turn of somebody in another. */
  dispatch(changed: readonly Contest[], nowMs: number): void {
    let saved: Saved[] | undefined;
    const ranking = new Ranking(this.#places.contests.withRivals(changed));
    for (const contest of ranking.contests) this.#places.setDue(contest, 0);
    this.#turnsLeft = this.#turnsMax;
    for (;;) {
      if (this.#turnsLeft === 0) {
        this.#goOnLater(ranking, nowMs);
        return;
      }
      const lane = this.#next(ranking);
      if (lane === undefined) return;
      const { contest, head } = lane;
      const turnsLeft = this.#turnsLeft;
      const attempt = this.#try(lane, nowMs);
      if (attempt.kind === "granted") {
        ranking.served();
        for (const one of saved ?? NO_SAVED) {
          if (!contest.shared.includes(one.key)) continue;
          one.head.overtakeLeft -= head.request.size;
          if (one.head.overtakeLeft <= 0) this.#close(ranking, one);
        }
        continue;
      }
      ranking.refused();
      if (lane.dueMs > 0) continue;
      const limiting = attempt.kind === "refused" ? attempt.limiting : 0;
      const { key } = head.request.subjects[limiting];
      this.#overtake(lane, key, nowMs);
      if (this.#turnsLeft < turnsLeft) ranking.served();
      // There may be more who can overtake.
      if (this.#turnsLeft === 0) continue;
      ranking.contests.delete(contest);
      if (ranking.contests.size === 0) return;
      const one: Saved = { head, contest, key };
      if (head.overtakeLeft > 0) {
        this.#bar(ranking, one);
        saved = withOne(saved, one);
      } else this.#close(ranking, one);
    }
  }

  /** Who can be served is when others have had their turn of the event loop. */
  #goOnLater({ contests }: Ranking, nowMs: number): void {
    for (const contest of contests) if (contest.best() !== undefined) this.#places.setDue(contest, nowMs);
  }

  /** Nobody is tried for whom what a head was refused does not do either: clients may make up as many contests as they like. */
  #bar({ contests }: Ranking, { head, key, contest: first }: Saved): void {
    for (const contest of contests) {
      if (contest.isBarredWith(head.request, key)) this.#leaveOut(contests, contest, first.dueMs);
    }
  }

  /** What is shared is saved for somebody: nobody else is served from it before. */
  #close({ contests }: Ranking, { key, contest: first }: Saved): void {
    for (const contest of contests) {
      if (contest.shared.includes(key)) this.#leaveOut(contests, contest, first.dueMs);
    }
  }

  /** Nobody of a contest is served before the moment of somebody else. */
  #leaveOut(contests: Set<Contest>, contest: Contest, dueMs: number): void {
    contests.delete(contest);
    if (contest.best() !== undefined) this.#places.setDue(contest, dueMs);
  }

  /** Who is next: one that is owed, or else the first. */
  #next(ranking: Ranking): Lane | undefined {
    const owed = this.#owed(ranking);
    if (owed !== undefined) return owed;
    for (let band = 0; band < PRIORITIES.length; band++) {
      const first = this.#places.inLine(band) > 0 ? ranking.first(band) : undefined;
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** Who is next in the lowest band that is owed a call, of those that have a call in line in these contests. */
  #owed(ranking: Pick<Ranking, "first">): Lane | undefined {
    for (let band = PRIORITIES.length - 1; band > 0; band--) {
      if (this.#places.inLine(band) === 0 || !this.#shares.mayBeOwed(band)) continue;
      const first = ranking.first(band);
      if (first !== undefined && this.#shares.isOwed(band, first.head.request.size)) return first;
    }
    return undefined;
  }

  /** Whether a band is owed a call that is in line. */
  isOwed(): boolean {
    const { all } = this.#places.contests;
    return this.#owed({ first: (band) => firstAmong(all, band) }) !== undefined;
  }

  /** Serves smaller calls in front of a head that has to wait for room under `key`, as far as it can be asked to let them. */
  #overtake(lane: Lane, key: string, nowMs: number): void {
    const { contest, head } = lane;
    if (!contest.mayAskForLess(head.request, key)) return;
    // What is as large as something that did not fit does not fit either.
    let failed = head.request.size;
    while (head.overtakeLeft > 0 && this.#turnsLeft > 0) {
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
      this.#turnsLeft -= 1;
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
