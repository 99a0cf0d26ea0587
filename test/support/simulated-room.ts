import assert from "node:assert/strict";
import type { Ticket } from "../../src/core/fairness/lane.ts";
import type { RoomBounds } from "../../src/core/fairness/permit.ts";
import type { Attempt } from "../../src/core/fairness/permit-limits.ts";
import { WaitingRoom } from "../../src/core/fairness/waiting-room.ts";
import type { LimitSpec } from "../../src/core/limits/limit-spec.ts";
import type { Priority } from "../../src/core/policy/policy.ts";
import type { ReserveOutcome } from "../../src/ports/limit-store.ts";
import type { PermitCall } from "../../src/ports/permit-queue.ts";
import { CounterTable } from "../../src/stores/memory/counter-table.ts";
import { concurrency } from "../contract/limit-specs.ts";
import { ROOM } from "./limit-rules.ts";

const TTL_MS = 1e9;
const LONG_MS = 1e8;
const START_MS = 1_700_000_000_000;

export interface Asked {
  readonly user: string;
  readonly priority?: Priority;
  readonly weight?: number;
  readonly size?: number;
  readonly bytes?: number;
  readonly maxWaitMs?: number;
  readonly limits: readonly (readonly [key: string, spec: LimitSpec, need: number])[];
}

/** A room over real limits, on a clock that is set by hand. */
export class SimulatedRoom {
  nowMs = START_MS;
  bounds: RoomBounds = ROOM;
  readonly table = new CounterTable();
  /** Names of calls in the order in which they were granted. */
  readonly order: string[] = [];
  readonly #names = new Map<number, string>();
  readonly #calls = new Map<string, { call: PermitCall; grantedMs: number; isCounted: boolean }>();
  readonly room: WaitingRoom<ReserveOutcome>;
  #sequence = 0;

  /** `turnsMax`: as that of the room. */
  constructor(turnsMax?: number) {
    this.room = new WaitingRoom<ReserveOutcome>(
      {
        reserve: (request, nowMs) => this.#attempt(request as PermitCall, nowMs),
        expectedWait: ({ subjects }, ahead, serviceMs, nowMs) =>
          this.table.expectedWait(subjects, ahead, serviceMs, nowMs),
      },
      ({ request }) => this.#granted(request as PermitCall, true),
      undefined,
      turnsMax,
    );
    this.table.beat(1, TTL_MS, this.nowMs);
  }

  #attempt(call: PermitCall, nowMs: number): Attempt<ReserveOutcome> {
    const outcome = this.table.reserve(call, nowMs);
    switch (outcome.kind) {
      case "admitted":
        return { kind: "granted", outcome };
      case "refused":
        return { kind: "refused", outcome, waitMs: outcome.waitMs, limiting: outcome.limiting };
      case "never_fits":
        return { kind: "never_fits", outcome };
      case "closed":
        throw new Error("closed");
    }
  }

  #granted(call: PermitCall, isCounted: boolean): void {
    const name = this.#names.get(call.id.sequence) as string;
    this.order.push(name);
    this.#calls.set(name, { call, grantedMs: this.nowMs, isCounted });
  }

  enter(name: string, { user, limits, priority = "normal", weight = 1, size = 10, ...rest }: Asked) {
    this.#sequence += 1;
    const call: PermitCall = {
      id: { instance: 1, sequence: this.#sequence },
      // One charge a subject, so that the limiting charge is the limiting subject.
      subjects: limits.map(([key, spec, need]) => ({ key, charges: [{ spec, hold: need, need }] })),
      isShared: limits.map(([key]) => !key.startsWith("user=")),
      ttlMs: TTL_MS,
      flow: user,
      priority,
      weight,
      size,
      bytes: 1,
      maxWaitMs: LONG_MS,
      ...rest,
    };
    this.#names.set(this.#sequence, name);
    const entry = this.room.enter(call, this.bounds, this.nowMs);
    if (entry.kind === "granted") this.#granted(call, entry.isCounted);
    return entry;
  }

  waits(name: string, asked: Asked): Ticket {
    const entry = this.enter(name, asked);
    return entry.kind === "waiting" ? entry.ticket : assert.fail(entry.kind);
  }

  /** `actual`: of each limit. `served`: what it took of others' turns, where that is not what was expected. */
  end(name: string, actual = 1, served?: number): void {
    const granted = this.#calls.get(name);
    assert.ok(granted !== undefined, `${name} is not open`);
    this.#calls.delete(name);
    const { call, grantedMs, isCounted } = granted;
    const subjects = call.subjects.map(({ key, charges }) => ({
      key,
      charges: charges.map(({ spec }) => ({ spec, actual })),
    }));
    this.table.settle({ id: call.id, subjects }, this.nowMs);
    const { flow, priority } = call;
    this.room.freed(
      call.subjects.map(({ key }) => key),
      isCounted ? { flow, priority, correction: served === undefined ? 0 : served - call.size } : undefined,
      this.nowMs - grantedMs,
      this.nowMs,
    );
  }

  /** When a call was granted. */
  grantedMs(name: string): number {
    return this.#calls.get(name)?.grantedMs ?? Number.NaN;
  }

  /** Lets time pass, and the room do what it wants to. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    let turns = 0;
    while (this.room.nextDueMs <= untilMs) {
      this.nowMs = Math.max(this.nowMs, this.room.nextDueMs);
      this.room.pump(this.nowMs);
      turns += 1;
      assert.ok(turns < 10_000, "the room asks to be called again and again");
    }
    this.nowMs = untilMs;
  }
}

/** A limit on how many run at a time, that all share. */
export const place = (capacity = 1, key = "place") => [key, concurrency(capacity), 1] as const;
