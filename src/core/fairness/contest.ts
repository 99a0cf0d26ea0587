import { heapNode, IndexedHeap } from "./indexed-heap.ts";
import type { Lane } from "./lane.ts";
import { type PermitRequest, PRIORITIES } from "./permit.ts";

/** What waits in one band of a contest, lanes that sleep included. */
export interface BandLoad {
  calls: number;
  weight: number;
  /** In sum, by shared charge. */
  readonly needs: number[];
}

/** All who are in each other's way: they ask for the same shared limits. */
export class Contest {
  readonly key: string;
  /** The keys of what is shared; empty where nothing is, and nobody is in anybody's way. */
  readonly shared: readonly string[];
  /** By band, lanes whose head could be served if its turn came. */
  readonly ready: readonly IndexedHeap<Lane>[];
  /** The same lanes, smallest head first. */
  readonly smallest = new IndexedHeap<Lane>();
  readonly loads: readonly BandLoad[];
  /** How long calls are open, for limits on concurrency: a moving average; 0 while unknown. */
  serviceMs = 0;
  /** When the first in line can fit; 0 while there is none. */
  dueMs = 0;
  readonly dueNode = heapNode<Contest>(this);
  /** How many lanes wait for it, in line or asleep. */
  lanes = 0;

  constructor(key: string, shared: readonly string[], charges: number) {
    this.key = key;
    this.shared = shared;
    this.ready = PRIORITIES.map(() => new IndexedHeap<Lane>());
    this.loads = PRIORITIES.map(() => ({ calls: 0, weight: 0, needs: new Array<number>(charges).fill(0) }));
  }

  /** The lane of a band that is served next. */
  first(band: number): Lane | undefined {
    return this.ready[band].first;
  }

  /** The lane that is served next if nothing is owed to lower bands. */
  best(): Lane | undefined {
    for (const heap of this.ready) if (heap.first !== undefined) return heap.first;
    return undefined;
  }

  /** Puts a lane in line, or to its new place after its head or its flow's counter has changed. */
  put(lane: Lane): void {
    this.order(lane);
    this.smallest.put(lane.sizeNode, lane.head.request.size, lane.sequence);
  }

  /** Puts a lane that is in line where its flow's counter puts it. */
  order({ flow, orderNode, sequence }: Lane): void {
    this.ready[flow.band].put(orderNode, flow.counter, sequence);
  }

  takeOut(lane: Lane): void {
    this.ready[lane.flow.band].remove(lane.orderNode);
    this.smallest.remove(lane.sizeNode);
  }
}

const NOBODY: ReadonlySet<Contest> = new Set();

/** All contests that somebody takes part in, by what is contested. */
export class Contests {
  readonly #byKey = new Map<string, Contest>();
  /** By the key of something shared. */
  readonly #sharing = new Map<string, Set<Contest>>();

  /** How many there are. */
  get size(): number {
    return this.#byKey.size;
  }

  [Symbol.iterator](): Iterator<Contest> {
    return this.#byKey.values();
  }

  /** The contest of a call. One that nobody takes part in is forgotten by `dropIdle`. */
  of(request: PermitRequest, key: string): Contest {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const shared = request.subjects.filter((_, i) => request.isShared[i]);
    const charges = shared.reduce((count, subject) => count + subject.charges.length, 0);
    const contest = new Contest(
      key,
      shared.map((subject) => subject.key),
      charges,
    );
    this.#byKey.set(key, contest);
    for (const sharedKey of contest.shared) {
      const sharing = this.#sharing.get(sharedKey);
      if (sharing === undefined) this.#sharing.set(sharedKey, new Set([contest]));
      else sharing.add(contest);
    }
    return contest;
  }

  sharing(key: string): ReadonlySet<Contest> {
    return this.#sharing.get(key) ?? NOBODY;
  }

  /** All contests over something that is contested here too, this one included. */
  rivals(contest: Contest): Set<Contest> {
    const rivals = new Set([contest]);
    for (const key of contest.shared) for (const rival of this.sharing(key)) rivals.add(rival);
    return rivals;
  }

  /** These contests and all their rivals. */
  withRivals(contests: ReadonlySet<Contest>): Set<Contest> {
    const all = new Set(contests);
    const keys = new Set<string>();
    for (const { shared } of contests) for (const key of shared) keys.add(key);
    for (const key of keys) for (const rival of this.sharing(key)) all.add(rival);
    return all;
  }

  dropIdle(contest: Contest): void {
    if (contest.lanes > 0) return;
    this.#byKey.delete(contest.key);
    for (const key of contest.shared) {
      const sharing = this.#sharing.get(key);
      if (sharing?.delete(contest) === true && sharing.size === 0) this.#sharing.delete(key);
    }
  }
}
