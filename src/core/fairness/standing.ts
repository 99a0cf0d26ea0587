import type { Lane, Ticket } from "./lane.ts";
import { needsOf, noNeeds, type PermitRequest } from "./permit.ts";
import type { Flow } from "./service-order.ts";

/** A call that waits, and what its own lane has in front of it. */
export interface Standing {
  readonly ticket: Ticket;
  readonly lane: Lane;
  /** How many calls. */
  readonly before: number;
  /** What these need, by charge. Only until the next standing is asked for. */
  readonly needs: readonly number[];
}

function addNeeds(sums: number[], request: PermitRequest): void {
  for (const [charge, need] of needsOf(request).entries()) sums[charge] += need;
}

/** Where a call stands that waits in `lane`: looks at everyone in front of it there. */
export function standingIn(lane: Lane, ticket: Ticket): Standing {
  let before = 0;
  const needs = noNeeds(ticket.request);
  for (const other of lane) {
    if (other === ticket) break;
    before += 1;
    addNeeds(needs, other.request);
  }
  return { ticket, lane, before, needs };
}

/** How far a lane has been walked. */
interface Walk {
  readonly lane: Lane;
  next: Ticket | undefined;
  before: number;
  readonly needs: number[];
}

const isBefore = (a: Ticket, b: Ticket, laneOfA: Lane, laneOfB: Lane): boolean =>
  a.enteredMs < b.enteredMs || (a.enteredMs === b.enteredMs && laneOfA.sequence < laneOfB.sequence);

/** The calls of a flow, in the order in which they came: of those that came in one millisecond, the older lane's first. Walks each lane once. */
export function* standingsOf(flow: Flow): Generator<Standing> {
  const walks: Walk[] = [];
  for (let lane = flow.lane; lane !== undefined; lane = lane.sibling)
    walks.push({ lane, next: lane.head, before: 0, needs: noNeeds(lane.head.request) });
  while (true) {
    let first: (Walk & { next: Ticket }) | undefined;
    for (const walk of walks) {
      if (!hasNext(walk)) continue;
      if (first === undefined || isBefore(walk.next, first.next, walk.lane, first.lane)) first = walk;
    }
    if (first === undefined) return;
    const { next: ticket, lane, before, needs } = first;
    yield { ticket, lane, before, needs };
    addNeeds(needs, ticket.request);
    first.before += 1;
    (first as Walk).next = ticket.behind;
  }
}

const hasNext = (walk: Walk): walk is Walk & { next: Ticket } => walk.next !== undefined;
