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
  /** The keys of what is shared; empty where nothing is, and nobody is in anybody's way. */
  readonly shared: readonly string[];
  /** The limits under them, in order. */
  readonly #specs: readonly number[];
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
  /** The last look at who is next that it took part in. Written by `Contests` only. */
  look = 0;

  constructor({ subjects, isShared }: PermitRequest) {
    const shared: string[] = [];
    const specs: number[] = [];
    for (let i = 0; i < subjects.length; i++) {
      if (!isShared[i]) continue;
      shared.push(subjects[i].key);
      for (const { spec } of subjects[i].charges) specs.push(spec.id);
    }
    this.shared = shared;
    this.#specs = specs;
    this.ready = PRIORITIES.map(() => new IndexedHeap<Lane>());
    this.loads = PRIORITIES.map(() => ({ calls: 0, weight: 0, needs: specs.map(() => 0) }));
  }

  /** Whether a call takes part in it: it asks for the same shared limits. */
  isFor({ subjects, isShared }: PermitRequest): boolean {
    let keys = 0;
    let specs = 0;
    for (let i = 0; i < subjects.length; i++) {
      if (!isShared[i]) continue;
      const { key, charges } = subjects[i];
      if (this.shared[keys++] !== key) return false;
      for (const { spec } of charges) if (this.#specs[specs++] !== spec.id) return false;
    }
    return keys === this.shared.length && specs === this.#specs.length;
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
  readonly #all = new Set<Contest>();
  /** Those that share limits under the same keys, if not the same limits. */
  readonly #byKeys = new Map<string, Contest[]>();
  /** By the key of something shared. */
  readonly #sharing = new Map<string, Set<Contest>>();
  #look = 0;

  /** How many there are. */
  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<Contest> {
    return this.#all.values();
  }

  /** The contest of a call. One that nobody takes part in is forgotten by `dropIdle`. */
  of(request: PermitRequest): Contest {
    const keys = sharedKeys(request);
    const alike = this.#byKeys.get(keys);
    if (alike !== undefined) for (const known of alike) if (known.isFor(request)) return known;
    const contest = new Contest(request);
    this.#all.add(contest);
    if (alike === undefined) this.#byKeys.set(keys, [contest]);
    else alike.push(contest);
    for (const key of contest.shared) {
      const sharing = this.#sharing.get(key);
      if (sharing === undefined) this.#sharing.set(key, new Set([contest]));
      else sharing.add(contest);
    }
    return contest;
  }

  sharing(key: string): ReadonlySet<Contest> {
    return this.#sharing.get(key) ?? NOBODY;
  }

  /** These contests and all over something that is contested in one of them too: each once. */
  withRivals(contests: Iterable<Contest>): Contest[] {
    this.#look += 1;
    const all: Contest[] = [];
    this.#collect(contests, all);
    const [only] = all;
    if (all.length === 1) {
      for (const key of only.shared) this.#collect(this.sharing(key), all);
      return all;
    }
    const keys = new Set<string>();
    for (const { shared } of all) for (const key of shared) keys.add(key);
    for (const key of keys) this.#collect(this.sharing(key), all);
    return all;
  }

  #collect(contests: Iterable<Contest>, all: Contest[]): void {
    for (const contest of contests) {
      if (contest.look === this.#look) continue;
      contest.look = this.#look;
      all.push(contest);
    }
  }

  dropIdle(contest: Contest): void {
    if (contest.lanes > 0 || !this.#all.delete(contest)) return;
    const keys = contest.shared.join(SEPARATOR);
    const alike = (this.#byKeys.get(keys) ?? []).filter((other) => other !== contest);
    if (alike.length === 0) this.#byKeys.delete(keys);
    else this.#byKeys.set(keys, alike);
    for (const key of contest.shared) {
      const sharing = this.#sharing.get(key);
      sharing?.delete(contest);
      if (sharing?.size === 0) this.#sharing.delete(key);
    }
  }
}

const SEPARATOR = "\n";

/** The keys of what a call shares: mostly one, which is then not written anew. */
function sharedKeys({ subjects, isShared }: PermitRequest): string {
  let keys = "";
  let count = 0;
  for (let i = 0; i < subjects.length; i++) {
    if (isShared[i]) keys = count++ === 0 ? subjects[i].key : keys + SEPARATOR + subjects[i].key;
  }
  return keys;
}
