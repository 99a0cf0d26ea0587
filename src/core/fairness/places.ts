import { weigh } from "./ahead.ts";
import { type Contest, Contests } from "./contest.ts";
import { IndexedHeap } from "./indexed-heap.ts";
import { Lane, type Ticket } from "./lane.ts";
import { type PermitRequest, PRIORITIES } from "./permit.ts";
import { type Flow, ServiceOrder } from "./service-order.ts";

const NOBODY: readonly Lane[] = [];

/** Who waits where, and until when: the room's books, without an opinion about whose turn it is. */
export class Places {
  readonly contests = new Contests();
  /** By band. */
  readonly orders: readonly ServiceOrder[] = PRIORITIES.map((_, band) => new ServiceOrder(band));
  /** Lanes that sleep, by the keys that are theirs alone. */
  readonly #sleeping = new Map<string, Set<Lane>>();
  readonly #dueLanes = new IndexedHeap<Lane>();
  readonly #dueContests = new IndexedHeap<Contest>();
  /** By band. */
  readonly #inLine = PRIORITIES.map(() => 0);
  #sequence = 0;
  #waiting = 0;
  #bytes = 0;

  /** How many calls wait. */
  get waiting(): number {
    return this.#waiting;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Infinite where nothing is due. */
  get nextDueMs(): number {
    return Math.min(this.#dueLanes.firstKey, this.#dueContests.firstKey);
  }

  /** How many lanes of a band are in line. */
  inLine(band: number): number {
    return this.#inLine[band];
  }

  /** Where calls of a flow that ask for the same limits wait already. */
  find(flow: Flow, contest: Contest, request: PermitRequest): Lane | undefined {
    for (const lane of flow.lanes) if (lane.contest === contest && lane.isFor(request)) return lane;
    return undefined;
  }

  /** A new lane, to be joined at once. */
  open(flow: Flow, contest: Contest, first: PermitRequest): Lane {
    this.#sequence += 1;
    const lane = new Lane(flow, contest, this.#sequence, first);
    contest.lanes += 1;
    contest.loads[flow.band].weight += lane.weight;
    if (flow.lanes.length === 0) flow.lanes = [lane];
    else flow.lanes.push(lane);
    return lane;
  }

  join(ticket: Ticket, lane: Lane): void {
    const { request } = ticket;
    const { flow } = lane;
    ticket.lane = lane;
    if (lane.tickets.length === 0) lane.tickets = [ticket];
    else lane.tickets.push(ticket);
    weigh(lane, request, 1);
    this.#waiting += 1;
    this.#bytes += request.bytes;
    flow.bytes += request.bytes;
    this.orders[flow.band].join(flow);
    if (lane.tickets.length === 1) this.#line(lane);
  }

  /** Takes a call that waits out of its lane, and the lane away where it was the last. */
  remove(ticket: Ticket): void {
    const { request } = ticket;
    const lane = ticket.lane as Lane;
    const { flow, contest, tickets } = lane;
    ticket.lane = undefined;
    if (tickets[0] === ticket) tickets.shift();
    else tickets.splice(tickets.indexOf(ticket), 1);
    weigh(lane, request, -1);
    this.#waiting -= 1;
    this.#bytes -= request.bytes;
    flow.bytes -= request.bytes;
    this.orders[flow.band].leave(flow);
    if (tickets.length > 0) {
      if (lane.isInLine) contest.put(lane);
      return;
    }
    this.#unline(lane);
    this.#forgetSleep(lane);
    contest.loads[flow.band].weight -= lane.weight;
    contest.lanes -= 1;
    flow.lanes.splice(flow.lanes.indexOf(lane), 1);
    if (contest.best() === undefined) this.setDue(contest, 0);
    this.contests.dropIdle(contest);
  }

  /** Takes a lane out of line until its head can fit its own limits. */
  sleep(lane: Lane, untilMs: number): void {
    this.#unline(lane);
    lane.dueMs = untilMs;
    this.#dueLanes.put(lane.dueNode, untilMs);
    for (const key of lane.ownKeys()) {
      const sleepers = this.#sleeping.get(key);
      if (sleepers === undefined) this.#sleeping.set(key, new Set([lane]));
      else sleepers.add(lane);
    }
  }

  wake(lane: Lane): void {
    if (lane.dueMs === 0) return;
    this.#forgetSleep(lane);
    this.#line(lane);
  }

  /** Lanes that sleep until there is room under a key of their own. */
  sleepers(key: string): readonly Lane[] {
    const sleepers = this.#sleeping.get(key);
    return sleepers === undefined ? NOBODY : [...sleepers];
  }

  /** `dueMs` 0: nobody waits for a moment. */
  setDue(contest: Contest, dueMs: number): void {
    contest.dueMs = dueMs;
    if (dueMs === 0) this.#dueContests.remove(contest.dueNode);
    else this.#dueContests.put(contest.dueNode, dueMs);
  }

  /** Wakes the lanes whose moment has come. */
  takeDueLanes(nowMs: number): readonly Lane[] {
    const due: Lane[] = [];
    for (let next = this.#dueLanes.first; next !== undefined && next.dueMs <= nowMs; ) {
      this.wake(next);
      due.push(next);
      next = this.#dueLanes.first;
    }
    return due;
  }

  /** The contests whose moment has come. */
  takeDueContests(nowMs: number): readonly Contest[] {
    const due: Contest[] = [];
    for (let next = this.#dueContests.first; next !== undefined && next.dueMs <= nowMs; ) {
      this.setDue(next, 0);
      due.push(next);
      next = this.#dueContests.first;
    }
    return due;
  }

  /** Counts `size` model tokens for a flow, and moves its lanes to where that puts them. */
  recount(flow: Flow, size: number): void {
    this.orders[flow.band].charge(flow, size);
    for (const lane of flow.lanes) if (lane.isInLine) lane.contest.order(lane);
  }

  #line(lane: Lane): void {
    if (!lane.isInLine) this.#inLine[lane.flow.band] += 1;
    lane.contest.put(lane);
  }

  #unline(lane: Lane): void {
    if (lane.isInLine) this.#inLine[lane.flow.band] -= 1;
    lane.contest.takeOut(lane);
  }

  #forgetSleep(lane: Lane): void {
    if (lane.dueMs === 0) return;
    lane.dueMs = 0;
    this.#dueLanes.remove(lane.dueNode);
    for (const key of lane.ownKeys()) {
      const sleepers = this.#sleeping.get(key);
      if (sleepers?.delete(lane) === true && sleepers.size === 0) this.#sleeping.delete(key);
    }
  }
}
