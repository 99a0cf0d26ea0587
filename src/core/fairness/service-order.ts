import { IndexedHeap, Slots } from "./indexed-heap.ts";
import type { Lane } from "./lane.ts";

/**
 * One caller's place in the order of service of a priority: the Virtual Token Counter of Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024).
 * The flow with the least counter is served next.
 */
export class Flow {
  readonly key: string;
  readonly band: number;
  weight = 1;
  /** Weighted model tokens served ÷ weight. */
  counter = 0;
  /** Calls that wait. */
  waiting = 0;
  bytes = 0;
  /** Calls that were served and counted, and are not settled: their correction is still to come. */
  unsettled = 0;
  /** Where its calls wait, newest first: mostly one, that of the calls that ask for the same limits. */
  lane: Lane | undefined = undefined;
  /** Whether it is remembered. Written by `ServiceOrder` only, as is the next. */
  isKept = false;
  /** Its number in the heap of those who wait. */
  slot = -1;

  constructor(key: string, band: number) {
    this.key = key;
    this.band = band;
  }
}

/** Idle flows are looked through when there are so many more than at the last time. */
const SWEEP_STEP = 1_000;

/**
 * The counters of one band. A flow that comes back from idleness is lifted to the least counter of those that wait, so nobody saves up service; what is
 * charged at the start is corrected when the real use is known.
 */
export class ServiceOrder {
  readonly #band: number;
  readonly #flows = new Map<string, Flow>();
  readonly #slots = new Slots<Flow>();
  readonly #waiting = new IndexedHeap<Flow>(this.#slots);
  /** The counter of who waited last, when nobody does. */
  #last = 0;
  #sweepAt = SWEEP_STEP;

  constructor(band: number) {
    this.#band = band;
  }

  /** How many flows wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** How many flows are known, waiting or not. */
  get size(): number {
    return this.#flows.size;
  }

  /** Undefined for one that is not known. */
  find(key: string): Flow | undefined {
    return this.#flows.get(key);
  }

  /**
   * The flow as it would take part, lifted where it is idle. Nothing is kept of that before it does: `join` or `charge`.
   */
  candidate(key: string, weight: number): Flow {
    const known = this.#flows.get(key);
    if (known !== undefined && known.waiting > 0) {
      known.weight = weight;
      return known;
    }
    const floor = this.#floor();
    const counter = known === undefined ? Math.max(0, floor) : Math.max(known.counter, floor);
    if (known !== undefined && known.weight === weight && known.counter === counter) return known;
    const flow = new Flow(key, this.#band);
    flow.weight = weight;
    flow.counter = counter;
    flow.unsettled = known?.unsettled ?? 0;
    return flow;
  }

  /** One more call of the flow waits. */
  join(flow: Flow): void {
    flow.waiting += 1;
    if (flow.waiting > 1) return;
    this.#keep(flow);
    flow.slot = this.#slots.take(flow);
    this.#waiting.put(flow.slot, flow.counter);
  }

  /** One call less waits. */
  leave(flow: Flow): void {
    flow.waiting -= 1;
    if (flow.waiting > 0) return;
    this.#waiting.remove(flow.slot);
    this.#slots.give(flow.slot);
    if (this.#waiting.size === 0) this.#last = flow.counter;
  }

  /** Counts `size` model tokens; negative where less was used than had been counted. */
  charge(flow: Flow, size: number): void {
    flow.counter += size / flow.weight;
    if (flow.waiting > 0) this.#waiting.put(flow.slot, flow.counter);
    else this.#keep(flow);
  }

  #keep(flow: Flow): void {
    if (flow.isKept) return;
    flow.isKept = true;
    this.#sweep();
    this.#flows.set(flow.key, flow);
  }

  #floor(): number {
    return this.#waiting.size === 0 ? this.#last : this.#waiting.firstKey;
  }

  /** Forgets idle flows that would be lifted anyway. */
  #sweep(): void {
    if (this.#flows.size < this.#sweepAt) return;
    const floor = this.#floor();
    for (const [key, flow] of this.#flows) {
      if (flow.waiting > 0 || flow.unsettled > 0 || flow.counter > floor) continue;
      flow.isKept = false;
      this.#flows.delete(key);
    }
    this.#sweepAt = this.#flows.size + SWEEP_STEP;
  }
}
