import type { LimitReading, LimitSpec } from "../../src/core/limits/limit-spec.ts";
import type {
  LimitStore,
  ReservationId,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
} from "../../src/ports/limit-store.ts";

export interface Ask {
  readonly key: string;
  readonly spec: LimitSpec;
  readonly hold: number;
  readonly need?: number;
}

/** A reservation as its gateway remembers it. */
export interface Held {
  readonly id: ReservationId;
  readonly asks: readonly Ask[];
  readonly outcome: ReserveOutcome;
}

const TTL_MS = 600_000;

function bySubject<T>(asks: readonly Ask[], charge: (ask: Ask, index: number) => T) {
  const subjects = new Map<string, T[]>();
  asks.forEach((ask, index) => {
    const charges = subjects.get(ask.key) ?? [];
    charges.push(charge(ask, index));
    subjects.set(ask.key, charges);
  });
  return [...subjects].map(([key, charges]) => ({ key, charges }));
}

/** One gateway's use of a store, in few words. Asks on one key must stand together, since amounts are given in their order. */
export class Gateway {
  readonly store: LimitStore;
  readonly instance: number;
  #sequence = 0;

  constructor(store: LimitStore, instance = 1 + Math.floor(Math.random() * 2 ** 47)) {
    this.store = store;
    this.instance = instance;
  }

  nextId(): ReservationId {
    this.#sequence += 1;
    return { instance: this.instance, sequence: this.#sequence };
  }

  request(id: ReservationId, asks: readonly Ask[]): ReserveRequest {
    const subjects = bySubject(asks, ({ spec, hold, need }) => ({ spec, hold, need: need ?? hold }));
    return { id, subjects, ttlMs: TTL_MS };
  }

  async reserve(asks: readonly Ask[], id = this.nextId()): Promise<Held> {
    return { id, asks, outcome: await this.store.reserve(this.request(id, asks)) };
  }

  async extend(held: Held, amounts: readonly number[], step: number, force = false): Promise<ReserveOutcome> {
    const asks = held.asks.map((ask, i) => ({ ...ask, hold: amounts[i], need: amounts[i] }));
    return this.store.extend({ ...this.request(held.id, asks), step, force });
  }

  async settle(held: Held, actuals: readonly number[]): Promise<SettleOutcome> {
    const subjects = bySubject(held.asks, ({ spec }, i) => ({ spec, actual: actuals[i] }));
    return this.store.settle({ id: held.id, subjects });
  }

  async release(held: Pick<Held, "id" | "asks">): Promise<SettleOutcome> {
    const subjects = bySubject(held.asks, ({ spec }) => ({ spec, actual: 0 }));
    return this.store.release({ id: held.id, subjects });
  }

  async read(key: string, spec: LimitSpec): Promise<LimitReading> {
    const [reading] = await this.store.read([{ key, specs: [spec] }]);
    return reading;
  }
}
