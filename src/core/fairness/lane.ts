import type { Contest } from "./contest.ts";
import { asksForTheSame, needsOf, type PermitRequest } from "./permit.ts";
import type { Flow } from "./service-order.ts";

/**
 * How much may be served in front of a head that does not fit yet, as a multiple of what it asks for. A document that needs a third of a minute's tokens lets small calls
 * pass while the tokens that they leave add up; saving everything for it at once would stop them for as long as it takes.
 */
const OVERTAKING_MAX = 4;

/** A call in the room: all there is of it, its place among those of its lane included. */
export class Ticket {
  readonly request: PermitRequest;
  readonly enteredMs: number;
  /** How much may still be served before it out of turn. */
  overtakeLeft: number;
  /** Calls came in this order. Written by `Places` only. */
  sequence = 0;
  /** Where it waits; undefined once it does not. */
  lane: Lane | undefined = undefined;
  /** Its neighbours in the lane. Written by the lane only. */
  before: Ticket | undefined = undefined;
  behind: Ticket | undefined = undefined;

  constructor(request: PermitRequest, enteredMs: number) {
    this.request = request;
    this.enteredMs = enteredMs;
    this.overtakeLeft = OVERTAKING_MAX * request.size;
  }
}

/** Calls of one flow that ask for the same limits: first come, first served. Open while at least one waits; then it can be opened for others. */
export class Lane {
  flow: Flow;
  contest: Contest;
  /** The flow's when the lane was opened. */
  weight = 1;
  /** Lanes were opened in this order. */
  sequence = 0;
  /** Its number in all heaps. */
  readonly slot: number;
  /** The flow's next lane. Written by `Places` only. */
  sibling: Lane | undefined = undefined;
  /** How many calls wait. */
  length = 0;
  /** When its head can fit its own limits; 0 while only others can be in its way. */
  dueMs = 0;
  /** What its calls need in sum, by charge; undefined while there has been one only, as mostly. */
  #needs: number[] | undefined = undefined;
  #head: Ticket | undefined = undefined;
  #last: Ticket | undefined = undefined;

  constructor(flow: Flow, contest: Contest, slotOf: (lane: Lane) => number) {
    this.flow = flow;
    this.contest = contest;
    this.slot = slotOf(this);
  }

  /** For calls of this flow and this contest, the first of which is appended at once. Only of a lane where nobody waits. */
  open(flow: Flow, contest: Contest, sequence: number): void {
    this.flow = flow;
    this.weight = flow.weight;
    this.contest = contest;
    this.sequence = sequence;
    this.#needs = undefined;
  }

  /** First in line. Only of an open lane. */
  get head(): Ticket {
    return this.#head as Ticket;
  }

  /** What its calls need in sum, by charge. Only of an open lane. */
  get needs(): readonly number[] {
    return this.#needs ?? needsOf(this.head.request);
  }

  /** First to last. */
  *[Symbol.iterator](): Generator<Ticket> {
    for (let ticket = this.#head; ticket !== undefined; ticket = ticket.behind) yield ticket;
  }

  append(ticket: Ticket): void {
    ticket.lane = this;
    ticket.before = this.#last;
    if (this.#last === undefined) this.#head = ticket;
    else {
      this.#needs ??= needsOf(this.head.request);
      this.#last.behind = ticket;
    }
    this.#last = ticket;
    this.length += 1;
    this.#weigh(ticket.request, 1);
  }

  remove(ticket: Ticket): void {
    const { before, behind } = ticket;
    if (before === undefined) this.#head = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    ticket.lane = undefined;
    ticket.before = undefined;
    ticket.behind = undefined;
    this.length -= 1;
    this.#weigh(ticket.request, -1);
  }

  /** The keys that are counted for this flow alone. */
  ownKeys(): string[] {
    const { subjects, isShared } = this.head.request;
    return subjects.filter((_, i) => !isShared[i]).map(({ key }) => key);
  }

  /** Whether a call of its flow, and of its contest, belongs here: it asks for the same limits of its own. */
  isFor(request: PermitRequest): boolean {
    return asksForTheSame(request, this.head.request, false);
  }

  #weigh({ subjects }: PermitRequest, sign: 1 | -1): void {
    const needs = this.#needs;
    if (needs === undefined) return;
    let charge = 0;
    for (const { charges } of subjects) for (const { need } of charges) needs[charge++] += sign * need;
  }
}

/** Higher priority, then the flow that was served least, then who came first. */
export function isServedBefore(a: Lane, b: Lane): boolean {
  if (a.flow.band !== b.flow.band) return a.flow.band < b.flow.band;
  if (a.flow.counter !== b.flow.counter) return a.flow.counter < b.flow.counter;
  return a.sequence < b.sequence;
}

/**
 * Whether a call of `size` may be served in front of a head that is first in line and does not fit: within the head's bound, and as long as its flow has then not been
 * served more than the head's will have been. A lower band's call has only the bound.
 */
export function mayOvertake(flow: Flow, size: number, { head, flow: first }: Lane): boolean {
  if (size > head.overtakeLeft) return false;
  if (flow.band !== first.band) return true;
  return flow.counter + size / flow.weight <= first.counter + head.request.size / first.weight;
}
