import type { Contest } from "./contest.ts";
import { heapNode } from "./indexed-heap.ts";
import { asksForTheSame, noNeeds, type PermitRequest } from "./permit.ts";
import type { Flow } from "./service-order.ts";

/**
 * How much may be served in front of a head that does not fit yet, as a multiple of what it asks for. A document that needs a third of a minute's tokens lets small calls
 * pass while the tokens that they leave add up; saving everything for it at once would stop them for as long as it takes.
 */
const OVERTAKING_MAX = 4;

/** A call in the room. */
export class Ticket {
  readonly request: PermitRequest;
  readonly enteredMs: number;
  /** How much may still be served before it out of turn. */
  overtakeLeft: number;
  /** Where it waits; undefined once it does not. */
  lane: Lane | undefined;

  constructor(request: PermitRequest, enteredMs: number) {
    this.request = request;
    this.enteredMs = enteredMs;
    this.overtakeLeft = OVERTAKING_MAX * request.size;
  }
}

const NONE: Ticket[] = [];

/** Calls of one flow that ask for the same limits: first come, first served. */
export class Lane {
  readonly flow: Flow;
  readonly contest: Contest;
  /** The flow's when the lane was made. */
  readonly weight: number;
  /** Lanes were made in this order. */
  readonly sequence: number;
  /** What its calls need in sum, by charge. */
  readonly needs: number[];
  /** First to last. Mostly one, so that an array with room for more would be most of what waiting takes. */
  tickets: Ticket[] = NONE;
  /** When its head can fit its own limits; 0 while only others can be in its way. */
  dueMs = 0;
  readonly orderNode = heapNode<Lane>(this);
  readonly sizeNode = heapNode<Lane>(this);
  readonly dueNode = heapNode<Lane>(this);

  /** All of its calls ask for the same limits as the first. */
  readonly #first: PermitRequest;

  constructor(flow: Flow, contest: Contest, sequence: number, first: PermitRequest) {
    this.flow = flow;
    this.weight = flow.weight;
    this.contest = contest;
    this.sequence = sequence;
    this.#first = first;
    this.needs = noNeeds(first);
  }

  /** The keys that are counted for this flow alone. */
  ownKeys(): string[] {
    const { subjects, isShared } = this.#first;
    return subjects.filter((_, i) => !isShared[i]).map(({ key }) => key);
  }

  /** Whether a call of its flow, and of its contest, belongs here: it asks for the same limits of its own. */
  isFor(request: PermitRequest): boolean {
    return asksForTheSame(request, this.#first, false);
  }

  /** Whether its turn comes with others'; else it sleeps until it fits its own limits. */
  get isInLine(): boolean {
    return this.orderNode.index !== -1;
  }

  get head(): Ticket {
    return this.tickets[0];
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
