import { HeapPlaces, IndexedHeap, Slots } from "./indexed-heap.ts";
import type { Lane } from "./lane.ts";
import { asksForTheSame, type PermitRequest, PRIORITIES } from "./permit.ts";

/** What waits in one band of a contest, lanes that sleep included. */
export interface BandLoad {
  calls: number;
  weight: number;
  /** In sum, by shared charge. */
  readonly needs: number[];
}

/** The numbers of all lanes, and where they stand in the heaps of their contests. */
export class LaneSlots extends Slots<Lane> {
  readonly order = new HeapPlaces();
  readonly size = new HeapPlaces();
}

/** All who are in each other's way: they ask for the same shared limits. */
export class Contest {
  /** The keys of what is shared; empty where nothing is, and nobody is in anybody's way. */
  readonly shared: readonly string[];
  /** All who take part ask for the same shared limits as the first. */
  readonly #first: PermitRequest;
  /** By band, lanes whose head could be served if its turn came. */
  readonly ready: readonly IndexedHeap<Lane>[];
  /** The same lanes, smallest head first. */
  readonly smallest: IndexedHeap<Lane>;
  readonly loads: readonly BandLoad[];
  /** The least that anybody has asked for, by shared charge. Only grows smaller, so that it costs nothing to keep. */
  readonly #leastNeeds: number[];
  /** How long calls are open, for limits on concurrency: a moving average; 0 while unknown. */
  serviceMs = 0;
  /** When the first in line can fit; 0 while there is none. */
  dueMs = 0;
  /** Its number in the heap of those that are due. */
  readonly slot: number;
  /** How many lanes wait for it, in line or asleep. */
  lanes = 0;
  /** Its index in the list of all. Written by `Contests` only, as are the next. */
  at = -1;
  /** The last look at who is next that it took part in. */
  look = 0;
  /** It and all over something that is contested in it too, as of `rivalsVersion`. */
  rivals: readonly Contest[] = [];
  rivalsVersion = -1;

  constructor(first: PermitRequest, lanes: LaneSlots, slotOf: (contest: Contest) => number) {
    const { subjects, isShared } = first;
    const shared = subjects.filter((_, i) => isShared[i]);
    const charges = shared.reduce((count, subject) => count + subject.charges.length, 0);
    this.#first = first;
    this.slot = slotOf(this);
    this.shared = shared.map(({ key }) => key);
    this.ready = PRIORITIES.map(() => new IndexedHeap<Lane>(lanes, lanes.order));
    this.smallest = new IndexedHeap<Lane>(lanes, lanes.size);
    this.#leastNeeds = new Array<number>(charges).fill(Number.POSITIVE_INFINITY);
    this.loads = PRIORITIES.map(() => ({ calls: 0, weight: 0, needs: new Array<number>(charges).fill(0) }));
  }

  /** Whether a call takes part in it: it asks for the same shared limits. */
  isFor(request: PermitRequest): boolean {
    return asksForTheSame(request, this.#first, true);
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
    this.smallest.put(lane.slot, lane.head.request.size, lane.sequence);
  }

  /** Puts a lane that is in line where its flow's counter puts it. */
  order({ flow, slot, sequence }: Lane): void {
    this.ready[flow.band].put(slot, flow.counter, sequence);
  }

  takeOut(lane: Lane): void {
    this.ready[lane.flow.band].remove(lane.slot);
    this.smallest.remove(lane.slot);
  }

  /** Whether a lane's turn comes with others'; else it sleeps until it fits its own limits. */
  isInLine({ flow, slot }: Lane): boolean {
    return this.ready[flow.band].has(slot);
  }

  /** Adds what a call needs to what waits in a band, or (`sign` −1) takes it out again. */
  weigh({ subjects, isShared }: PermitRequest, band: number, sign: 1 | -1): void {
    const load = this.loads[band];
    let shared = 0;
    for (let i = 0; i < subjects.length; i++) {
      if (!isShared[i]) continue;
      for (const { need } of subjects[i].charges) {
        load.needs[shared] += sign * need;
        if (need < this.#leastNeeds[shared]) this.#leastNeeds[shared] = need;
        shared += 1;
      }
    }
    load.calls += sign;
  }

  /** Whether somebody may ask for less under `key` than this call does: false is certain. */
  mayAskForLess({ subjects, isShared }: PermitRequest, key: string): boolean {
    let shared = 0;
    for (let i = 0; i < subjects.length; i++) {
      if (!isShared[i]) continue;
      for (const { need } of subjects[i].charges) {
        if (subjects[i].key === key && this.#leastNeeds[shared] < need) return true;
        shared += 1;
      }
    }
    return false;
  }

  /** Whether nobody fits while this call does not, for want of room under `key`: all ask for the same limits there, and for as much. True is certain. */
  isBarredWith(request: PermitRequest, key: string): boolean {
    if (!this.shared.includes(key)) return false;
    const charges = chargesUnder(request, key);
    const ours = chargesUnder(this.#first, key);
    if (charges === undefined || ours?.length !== charges.length) return false;
    let shared = this.#firstSharedUnder(key);
    for (let charge = 0; charge < charges.length; charge++) {
      const { spec, need } = charges[charge];
      if (ours[charge].spec.id !== spec.id || this.#leastNeeds[shared] < need) return false;
      shared += 1;
    }
    return true;
  }

  /** Which of the shared charges is the first under a key that is shared. */
  #firstSharedUnder(key: string): number {
    const { subjects, isShared } = this.#first;
    let shared = 0;
    for (let i = 0; subjects[i].key !== key; i++) if (isShared[i]) shared += subjects[i].charges.length;
    return shared;
  }
}

const chargesUnder = ({ subjects }: PermitRequest, key: string) =>
  subjects.find((subject) => subject.key === key)?.charges;

const NOBODY: readonly Contest[] = [];

/** All contests that somebody takes part in, by what is contested. */
export class Contests {
  readonly #lanes: LaneSlots;
  readonly #slots = new Slots<Contest>();
  readonly #all: Contest[] = [];
  /** Those that share limits under the same keys, if not the same limits. */
  readonly #byKeys = new Map<string, Contest[]>();
  /** By the key of something shared. */
  readonly #sharing = new Map<string, Contest[]>();
  #look = 0;
  /** Counts what makes others rivals. */
  #version = 0;

  constructor(lanes = new LaneSlots()) {
    this.#lanes = lanes;
  }

  /** Their numbers in heaps. */
  get slots(): Slots<Contest> {
    return this.#slots;
  }

  /** How many there are. */
  get size(): number {
    return this.#all.length;
  }

  /** In no order. */
  get all(): readonly Contest[] {
    return this.#all;
  }

  /** The contest of a call. One that nobody takes part in is forgotten by `dropIdle`. */
  of(request: PermitRequest): Contest {
    const keys = sharedKeys(request);
    const alike = this.#byKeys.get(keys);
    if (alike !== undefined) for (const known of alike) if (known.isFor(request)) return known;
    const contest = new Contest(request, this.#lanes, this.#slotOf);
    contest.at = this.#all.push(contest) - 1;
    this.#version += 1;
    if (alike === undefined) this.#byKeys.set(keys, [contest]);
    else alike.push(contest);
    for (const key of contest.shared) {
      const sharing = this.#sharing.get(key);
      if (sharing === undefined) this.#sharing.set(key, [contest]);
      else sharing.push(contest);
    }
    return contest;
  }

  sharing(key: string): readonly Contest[] {
    return this.#sharing.get(key) ?? NOBODY;
  }

  /** These contests and all over something that is contested in one of them too: each once. The list is the caller's. */
  withRivals(contests: readonly Contest[]): Contest[] {
    if (contests.length === 1) return this.rivalsOf(contests[0]).slice();
    this.#look += 1;
    const all: Contest[] = [];
    this.#collect(contests, all);
    const keys = new Set<string>();
    for (const { shared } of all) for (const key of shared) keys.add(key);
    for (const key of keys) this.#collect(this.sharing(key), all);
    return all;
  }

  /** The contest and all over something that is contested in it too. */
  rivalsOf(contest: Contest): readonly Contest[] {
    if (contest.rivalsVersion === this.#version) return contest.rivals;
    this.#look += 1;
    const all: Contest[] = [];
    this.#collect([contest], all);
    for (const key of contest.shared) this.#collect(this.sharing(key), all);
    contest.rivals = all;
    contest.rivalsVersion = this.#version;
    return all;
  }

  readonly #slotOf = (contest: Contest): number => this.#slots.take(contest);

  #collect(contests: readonly Contest[], all: Contest[]): void {
    for (const contest of contests) {
      if (contest.look === this.#look) continue;
      contest.look = this.#look;
      all.push(contest);
    }
  }

  dropIdle(contest: Contest): void {
    if (contest.lanes > 0 || contest.at === -1) return;
    const last = this.#all.pop() as Contest;
    if (last !== contest) {
      this.#all[contest.at] = last;
      last.at = contest.at;
    }
    contest.at = -1;
    this.#version += 1;
    this.#slots.give(contest.slot);
    const keys = contest.shared.join(SEPARATOR);
    without(this.#byKeys, keys, contest);
    for (const key of contest.shared) without(this.#sharing, key, contest);
  }
}

/** Takes a contest out of a list of them, and the list away where it was the only one. */
function without(lists: Map<string, Contest[]>, key: string, contest: Contest): void {
  const others = (lists.get(key) ?? []).filter((other) => other !== contest);
  if (others.length === 0) lists.delete(key);
  else lists.set(key, others);
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
