import { type Contest, Contests, LaneSlots } from "./contest.ts";
import { IndexedHeap } from "./indexed-heap.ts";
import { Lane, type Ticket } from "./lane.ts";
import { type PermitRequest, PRIORITIES } from "./permit.ts";
import { type Flow, ServiceOrder } from "./service-order.ts";

const NOBODY: readonly Lane[] = [];
/** More lanes than this are seldom left at once, before others are opened. */
const CLOSED_MAX = 1_000;

/** Who waits where, and until when: the room's books, without an opinion about whose turn it is. */
export class Places {
  readonly #lanes = new LaneSlots();
  readonly contests = new Contests(this.#lanes);
  /** By band. */
  readonly orders: readonly ServiceOrder[] = PRIORITIES.map((_, band) => new ServiceOrder(band));
  /** Lanes that sleep, by the keys that are theirs alone. */
  readonly #sleeping = new Map<string, Set<Lane>>();
  /** Lanes to be opened again: in a busy room one is left as often as one is opened, and they live for long. */
  readonly #closed: Lane[] = [];
  readonly #dueLanes = new IndexedHeap<Lane>(this.#lanes);
  readonly #dueContests = new IndexedHeap<Contest>(this.contests.slots);
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

  /** What waits of a caller, in whatever priority. */
  waitingOf(flow: string): { readonly waiting: number; readonly bytes: number } {
    let waiting = 0;
    let bytes = 0;
    for (const order of this.orders) {
      const known = order.find(flow);
      waiting += known?.waiting ?? 0;
      bytes += known?.bytes ?? 0;
    }
    return { waiting, bytes };
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
    for (let lane = flow.lane; lane !== undefined; lane = lane.sibling) {
      if (lane.contest === contest && lane.isFor(request)) return lane;
    }
    return undefined;
  }

  /** A new lane, to be joined at once. */
  open(flow: Flow, contest: Contest): Lane {
    this.#sequence += 1;
    const lane = this.#closed.pop() ?? new Lane(flow, contest, this.#slotOf);
    lane.open(flow, contest, this.#sequence);
    contest.lanes += 1;
    contest.loads[flow.band].weight += lane.weight;
    lane.sibling = flow.lane;
    flow.lane = lane;
    return lane;
  }

  join(ticket: Ticket, lane: Lane): void {
    const { request } = ticket;
    const { flow } = lane;
    this.#sequence += 1;
    ticket.sequence = this.#sequence;
    lane.append(ticket);
    lane.contest.weigh(request, flow.band, 1);
    this.#waiting += 1;
    this.#bytes += request.bytes;
    flow.bytes += request.bytes;
    this.orders[flow.band].join(flow);
    if (lane.length === 1) this.#line(lane);
  }

  /** Takes a call that waits out of its lane, and the lane away where it was the last. */
  remove(ticket: Ticket): void {
    const { request } = ticket;
    const lane = ticket.lane as Lane;
    const { flow, contest } = lane;
    // While its limits can still be told.
    if (lane.length === 1) this.#forgetSleep(lane);
    lane.remove(ticket);
    contest.weigh(request, flow.band, -1);
    this.#waiting -= 1;
    this.#bytes -= request.bytes;
    flow.bytes -= request.bytes;
    this.orders[flow.band].leave(flow);
    if (lane.length > 0) {
      if (contest.isInLine(lane)) contest.put(lane);
      return;
    }
    this.#unline(lane);
    if (this.#closed.length < CLOSED_MAX) this.#closed.push(lane);
    else this.#lanes.give(lane.slot);
    contest.loads[flow.band].weight -= lane.weight;
    contest.lanes -= 1;
    withoutLane(flow, lane);
    if (contest.best() === undefined) this.setDue(contest, 0);
    this.contests.dropIdle(contest);
  }

  /** Takes a lane out of line until its head can fit its own limits. */
  sleep(lane: Lane, untilMs: number): void {
    this.#unline(lane);
    lane.dueMs = untilMs;
    this.#dueLanes.put(lane.slot, untilMs, lane.sequence);
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
    if (dueMs === 0) this.#dueContests.remove(contest.slot);
    else this.#dueContests.put(contest.slot, dueMs);
  }

  /** Wakes the lanes whose moment has come, at most `max`. */
  takeDueLanes(nowMs: number, max: number): readonly Lane[] {
    const due: Lane[] = [];
    for (let next = this.#dueLanes.first; next !== undefined && next.dueMs <= nowMs; ) {
      if (due.length === max) break;
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
    for (let lane = flow.lane; lane !== undefined; lane = lane.sibling) {
      if (lane.contest.isInLine(lane)) lane.contest.order(lane);
    }
  }

  readonly #slotOf = (lane: Lane): number => this.#lanes.take(lane);

  #line(lane: Lane): void {
    if (!lane.contest.isInLine(lane)) this.#inLine[lane.flow.band] += 1;
    lane.contest.put(lane);
  }

  #unline(lane: Lane): void {
    if (lane.contest.isInLine(lane)) this.#inLine[lane.flow.band] -= 1;
    lane.contest.takeOut(lane);
  }

  #forgetSleep(lane: Lane): void {
    if (lane.dueMs === 0) return;
    lane.dueMs = 0;
    this.#dueLanes.remove(lane.slot);
    for (const key of lane.ownKeys()) {
      const sleepers = this.#sleeping.get(key);
      if (sleepers?.delete(lane) === true && sleepers.size === 0) this.#sleeping.delete(key);
    }
  }
}

function withoutLane(flow: Flow, lane: Lane): void {
  if (flow.lane === lane) flow.lane = lane.sibling;
  else {
    let newer = flow.lane;
    while (newer !== undefined && newer.sibling !== lane) newer = newer.sibling;
    if (newer !== undefined) newer.sibling = lane.sibling;
  }
  lane.sibling = undefined;
}
