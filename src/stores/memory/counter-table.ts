import {
  decide,
  followClock,
  type Holds,
  hold,
  readLimit,
  type SubjectCharges,
  settle,
  type Verdict,
} from "../../core/limits/combine.ts";
import { expectedWait } from "../../core/limits/expected-wait.ts";
import type { LimitReading } from "../../core/limits/limit-spec.ts";
import { emptyState, isEmpty, type SubjectState } from "../../core/limits/subject-state.ts";
import { withoutUse } from "../../core/limits/without-use.ts";
import type {
  ExtendRequest,
  ReadRequest,
  ReleaseRequest,
  ReservationId,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
  SettleRequest,
} from "../../ports/limit-store.ts";
import { type OpenReservation, ReservationTable } from "./reservation-table.ts";

/** Is told what changed, after it did, so that it can be made durable. */
export interface ChangeListener {
  subjectChanged(key: string, state: SubjectState): void;
  reservationChanged(id: ReservationId, reservation: OpenReservation | "closed"): void;
}

const NO_READINGS: readonly LimitReading[] = [];
const NOBODY: ChangeListener = { subjectChanged: () => {}, reservationChanged: () => {} };

/** A sweep looks at one subject in so many, so that a hundred sweeps have seen them all … */
const SWEEP_SHARE = 100;
/** … but at no fewer than this, so that small tables are done at once. */
const SWEEP_MIN = 1_000;

/**
 * All counters of one process: what the memory store and the embedded store share. Synchronous, so every method is one atomic step; the time is an
 * argument. Subjects without anything that still counts are dropped by `sweep` (L10).
 */
export class CounterTable {
  readonly reservations = new ReservationTable();
  readonly #subjects = new Map<string, SubjectState>();
  readonly #leases = new Map<number, number>();
  readonly #listener: ChangeListener;
  #sweep: Iterator<[string, SubjectState]> | undefined;
  #nowMs = 0;

  constructor(listener: ChangeListener = NOBODY) {
    this.#listener = listener;
  }

  get size(): number {
    return this.#subjects.size;
  }

  readonly #isAlive = (instance: number): boolean => (this.#leases.get(instance) ?? 0) > this.#nowMs;

  /** `isAsked`: somebody reads the readings of a refusal; else there are none. */
  reserve(request: ReserveRequest, nowMs: number, isAsked = true): ReserveOutcome {
    this.#nowMs = nowMs;
    const { id, subjects } = request;
    const states = this.#states(subjects);
    const known = this.reservations.find(id);
    if (known === "closed") return { kind: "closed", readings: this.#readings(states, subjects, nowMs) };
    if (known !== undefined) {
      return { kind: "admitted", overShadow: [], readings: this.#readings(states, subjects, nowMs) };
    }
    followClock(states, subjects, nowMs);
    const verdict = decide(states, subjects, nowMs, this.#isAlive);
    if (verdict.kind !== "admitted") {
      return withReadings(verdict, isAsked ? this.#readings(states, subjects, nowMs) : NO_READINGS);
    }
    const reservation: OpenReservation = { expiresMs: nowMs + request.ttlMs, step: 0, holds: [] };
    const held = this.#hold(states, subjects, reservation, id, nowMs);
    return withReadings(verdict, this.#readings(held, subjects, nowMs));
  }

  extend(request: ExtendRequest, nowMs: number): ReserveOutcome {
    this.#nowMs = nowMs;
    const { id, subjects } = request;
    const states = this.#states(subjects);
    const reservation = this.reservations.find(id);
    if (reservation === undefined || reservation === "closed") {
      return { kind: "closed", readings: this.#readings(states, subjects, nowMs) };
    }
    if (request.step <= reservation.step) {
      return { kind: "admitted", overShadow: [], readings: this.#readings(states, subjects, nowMs) };
    }
    followClock(states, subjects, nowMs);
    const verdict = decide(states, subjects, nowMs, this.#isAlive);
    if (verdict.kind !== "admitted" && !request.force) {
      return withReadings(verdict, this.#readings(states, subjects, nowMs));
    }
    reservation.step = request.step;
    reservation.expiresMs = nowMs + request.ttlMs;
    const held = this.#hold(states, subjects, reservation, id, nowMs);
    return { kind: "admitted", overShadow: [], readings: this.#readings(held, subjects, nowMs) };
  }

  settle(request: SettleRequest, nowMs: number): SettleOutcome {
    this.#nowMs = nowMs;
    const reservation = this.reservations.find(request.id);
    if (reservation === "closed") return "already";
    this.#settle(request, reservation?.holds ?? [], nowMs);
    return reservation === undefined ? "unknown" : "settled";
  }

  release(request: ReleaseRequest, nowMs: number): SettleOutcome {
    this.#nowMs = nowMs;
    const { id } = request;
    const reservation = this.reservations.find(id);
    if (reservation === "closed") return "already";
    if (reservation === undefined) {
      this.#close(id, nowMs);
      return "unknown";
    }
    this.#settle({ id, subjects: withoutUse(request.subjects) }, reservation.holds, nowMs);
    return "settled";
  }

  /** As core/limits/expected-wait.ts. */
  expectedWait(
    subjects: readonly SubjectCharges[],
    ahead: readonly number[],
    serviceMs: number,
    nowMs: number,
  ): number {
    this.#nowMs = nowMs;
    return expectedWait(this.#states(subjects), subjects, ahead, serviceMs, nowMs, this.#isAlive);
  }

  read(requests: readonly ReadRequest[], nowMs: number): LimitReading[] {
    this.#nowMs = nowMs;
    return requests.flatMap(({ key, specs }) => {
      const state = this.#subjects.get(key);
      return specs.map((spec) => readLimit(state, spec, nowMs, this.#isAlive));
    });
  }

  beat(instance: number, leaseMs: number, nowMs: number): number {
    this.#leases.set(instance, nowMs + leaseMs);
    for (const [other, untilMs] of this.#leases) if (untilMs <= nowMs) this.#leases.delete(other);
    return this.#leases.size;
  }

  /**
   * Looks at the next part of the table and drops what has expired. Called regularly, it keeps memory in proportion to what counts (L10).
   * Returns how many open reservations were given up.
   */
  sweep(nowMs: number): number {
    const givenUp = this.reservations.sweep(nowMs);
    this.#sweep ??= this.#subjects.entries();
    const visits = Math.max(SWEEP_MIN, Math.ceil(this.#subjects.size / SWEEP_SHARE));
    for (let i = 0; i < visits; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = undefined;
        break;
      }
      const [key, state] = next.value;
      if (state[1] <= nowMs) this.#subjects.delete(key);
    }
    return givenUp;
  }

  /** Puts back what was saved earlier. */
  restoreSubject(key: string, state: SubjectState): void {
    this.#subjects.set(key, state);
  }

  subjects(): IterableIterator<[string, SubjectState]> {
    return this.#subjects.entries();
  }

  #states(subjects: readonly { readonly key: string }[]): (SubjectState | undefined)[] {
    const states = new Array<SubjectState | undefined>(subjects.length);
    for (let i = 0; i < subjects.length; i++) states[i] = this.#subjects.get(subjects[i].key);
    return states;
  }

  /** Returns the states as they are now. */
  #hold(
    states: (SubjectState | undefined)[],
    subjects: readonly SubjectCharges[],
    reservation: OpenReservation,
    id: ReservationId,
    nowMs: number,
  ): (SubjectState | undefined)[] {
    const present = filled(states);
    hold(present, subjects, reservation.holds, id.instance, nowMs, reservation.expiresMs, this.#isAlive);
    for (let i = 0; i < subjects.length; i++) {
      if (states[i] !== undefined || subjects[i].charges.length === 0) continue;
      // A copy has no room to spare, and most subjects never need any.
      states[i] = present[i].slice();
      this.#subjects.set(subjects[i].key, states[i]!);
    }
    this.reservations.put(id, reservation);
    this.#tell(id, reservation, subjects, states);
    return states;
  }

  #settle(request: SettleRequest, holds: Holds, nowMs: number): void {
    const { id, subjects } = request;
    const states = this.#states(subjects);
    const present = filled(states);
    followClock(present, subjects, nowMs);
    settle(present, subjects, holds, id.instance, nowMs, this.#isAlive);
    for (let i = 0; i < subjects.length; i++) {
      if (states[i] !== undefined || isEmpty(present[i])) continue;
      states[i] = present[i];
      this.#subjects.set(subjects[i].key, present[i]);
    }
    this.reservations.close(id, nowMs);
    this.#tell(id, "closed", subjects, states);
  }

  #close(id: ReservationId, nowMs: number): void {
    this.reservations.close(id, nowMs);
    this.#listener.reservationChanged(id, "closed");
  }

  #tell(
    id: ReservationId,
    reservation: OpenReservation | "closed",
    subjects: readonly { readonly key: string }[],
    states: readonly (SubjectState | undefined)[],
  ): void {
    this.#listener.reservationChanged(id, reservation);
    for (let i = 0; i < subjects.length; i++) {
      const state = states[i];
      if (state !== undefined) this.#listener.subjectChanged(subjects[i].key, state);
    }
  }

  #readings(
    states: readonly (SubjectState | undefined)[],
    subjects: readonly SubjectCharges[],
    nowMs: number,
  ): LimitReading[] {
    let count = 0;
    for (const { charges } of subjects) count += charges.length;
    const readings = new Array<LimitReading>(count);
    let charge = 0;
    for (let i = 0; i < subjects.length; i++) {
      for (const { spec } of subjects[i].charges) {
        readings[charge++] = readLimit(states[i], spec, nowMs, this.#isAlive);
      }
    }
    return readings;
  }
}

/** With an empty state in place of each that is missing; the same list where none is. */
function filled(states: (SubjectState | undefined)[]): SubjectState[] {
  return states.includes(undefined)
    ? states.map((state) => state ?? emptyState())
    : (states as SubjectState[]);
}

/** Spelled out: spreading the verdict costs a third of the whole decision. */
function withReadings(verdict: Verdict, readings: readonly LimitReading[]): ReserveOutcome {
  switch (verdict.kind) {
    case "admitted":
      return { kind: "admitted", overShadow: verdict.overShadow, readings };
    case "refused":
      return { kind: "refused", waitMs: verdict.waitMs, limiting: verdict.limiting, readings };
    case "never_fits":
      return { kind: "never_fits", limiting: verdict.limiting, readings };
  }
}
