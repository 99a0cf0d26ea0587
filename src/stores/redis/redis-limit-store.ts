import type { Buffer } from "node:buffer";
import type { LimitReading } from "../../core/limits/limit-spec.ts";
import { withoutUse } from "../../core/limits/without-use.ts";
import type { CalibrationStore } from "../../ports/calibration-store.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  ExtendRequest,
  LimitStore,
  ReadRequest,
  ReleaseRequest,
  ReservationId,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
  SettleRequest,
} from "../../ports/limit-store.ts";
import type { Telemetry } from "../../ports/telemetry.ts";
import { CallBatcher } from "./call-batcher.ts";
import { ExpiringSlots } from "./expiring-slots.ts";
import { PlanEncoder } from "./plan-encoder.ts";
import { joinOutcomes, joinReadings, joinSettled, type RealmPart, splitByRealm } from "./realm-split.ts";
import { Realms } from "./realms.ts";
import { RedisCalibrationStore } from "./redis-calibration-store.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisPermitQueue } from "./redis-permit-queue.ts";
import type { RedisAddress } from "./redis-url.ts";
import {
  type BatchedCall,
  decodeReadReply,
  decodeReply,
  decodeSettleReply,
  type EncodedCall,
  encodeRequest,
  FORCE,
  SETTLE_MODE,
} from "./request-codec.ts";
import { BEAT, CALIBRATION, READ, RESERVE, type RedisScript, ROOM, SETTLE } from "./scripts.ts";
import { Unanswered } from "./unanswered.ts";

export interface RedisLimitStoreOptions {
  readonly address: RedisAddress;
  readonly keyPrefix: string;
  readonly realms: number;
  readonly deadlineMs: number;
  readonly telemetry: Telemetry;
  /** Tests only: this clock decides instead of the server's. */
  readonly clock: Clock | undefined;
}

/** A caller that repeats a reserve does it within this, and then the reservation is not lost. */
const REPEAT_MS = 1_000;
const NO_ID: ReservationId = { instance: 0, sequence: 0 };

type Amounts = Pick<ReserveRequest, "id" | "ttlMs"> & { readonly step: number };
type Part = Pick<RealmPart, "realm" | "subjects">;
type Force = (typeof FORCE)[keyof typeof FORCE];

/**
 * Counters in Redis or Valkey, shared by all gateways. One script decides over all limits of a call and writes all or nothing (L1), by the
 * server's clock (L5): one round trip, and two where a call's subjects live in several realms of a cluster: one to look whether it fits
 * everywhere, one to reserve everywhere; when another call came in between and a realm refuses, the others are released again. So
 * no limit is ever exceeded, and what such a call holds is missing elsewhere for a round trip at most.
 *
 * A reserve or extend that rejects may have happened. A reserve that nobody repeats or releases within a second is released by the store as soon as
 * Redis answers again; one repeated later than that may find itself `closed`.
 */
export class RedisLimitStore implements LimitStore {
  /** On the same connection; ends with this store. */
  readonly calibrations: CalibrationStore;
  /** On the same server; ends with this store. Absent where users are spread over several realms: no script sees all of them. */
  readonly permits: RedisPermitQueue | undefined;
  readonly #connection: RedisConnection;
  readonly #realms: Realms;
  readonly #clock: Clock | undefined;
  /** By realm. */
  readonly #reserves: readonly CallBatcher[];
  readonly #settles: readonly CallBatcher[];
  /** Reserves of which nobody knows whether they were made: released, so that nothing stays held that nobody uses. */
  readonly #lost: Unanswered<ReleaseRequest>;
  readonly #slots: ExpiringSlots;
  readonly #plans = new PlanEncoder();
  readonly #instances = new Set<number>();

  /** Use `openRedisLimitStore`. */
  constructor(options: RedisLimitStoreOptions) {
    const { address, deadlineMs, telemetry } = options;
    this.#realms = new Realms(options.keyPrefix, options.realms);
    this.#clock = options.clock;
    const realms = Array.from({ length: options.realms }, (_, realm) => realm);
    this.#connection = new RedisConnection({
      address,
      deadlineMs,
      telemetry,
      scripts: [RESERVE, SETTLE, READ, BEAT, CALIBRATION, ROOM],
      probeKeys: realms.map((realm) => this.#realms.probe(realm)),
    });
    this.calibrations = new RedisCalibrationStore(
      this.#connection,
      this.#realms.calibrations(),
      options.clock,
    );
    const batchers = (script: RedisScript) =>
      realms.map((realm) => new CallBatcher((keys, args) => this.#run(realm, script, keys, args)));
    this.#reserves = batchers(RESERVE);
    this.#settles = batchers(SETTLE);
    this.#lost = new Unanswered(async (request) => {
      await this.#giveBack(request, SETTLE_MODE.release);
      return true;
    }, REPEAT_MS);
    this.#slots = new ExpiringSlots(
      (request) => this.#giveBack(request, SETTLE_MODE.giveUp),
      () => telemetry.count("reservation-unsettled"),
    );
    this.permits = options.realms === 1 ? this.#permitQueue() : undefined;
  }

  /** Begins to connect; resolves when connected or after `waitMs`. */
  start(waitMs: number): Promise<void> {
    return this.#connection.start(waitMs);
  }

  /** How many reservations wait for the store to be back in order to be released. */
  get lostReservations(): number {
    return this.#lost.size;
  }

  reserve(request: ReserveRequest): Promise<ReserveOutcome> {
    return this.#hold(request, { id: request.id, ttlMs: request.ttlMs, step: 0 }, FORCE.no);
  }

  extend(request: ExtendRequest): Promise<ReserveOutcome> {
    const { id, ttlMs, step, force } = request;
    return this.#hold(request, { id, ttlMs, step }, force ? FORCE.yes : FORCE.no);
  }

  settle(request: SettleRequest): Promise<SettleOutcome> {
    this.#lost.take(request.id);
    this.#slots.closed(request.id);
    return this.#end(request, SETTLE_MODE.settle);
  }

  release(request: ReleaseRequest): Promise<SettleOutcome> {
    this.#lost.take(request.id);
    this.#slots.closed(request.id);
    return this.#giveBack(request, SETTLE_MODE.release);
  }

  async read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]> {
    const subjects = requests.map(({ key, specs }) => ({ key, charges: specs.map((spec) => ({ spec })) }));
    const parts = splitByRealm(subjects, this.#realms);
    const readings = await Promise.all(
      parts.map(async (part) => {
        const call = this.#encode(part, { id: NO_ID, ttlMs: 0, step: 0 });
        const reply = await this.#run(part.realm, READ, call.keys, [call.request]);
        return decodeReadReply(reply as Buffer, part.specs);
      }),
    );
    return joinReadings(parts, readings);
  }

  async beat(instance: number, leaseMs: number): Promise<number> {
    this.#instances.add(instance);
    const counts = await this.#beatAll(instance, leaseMs);
    return Math.max(...counts);
  }

  async close(): Promise<void> {
    this.permits?.close();
    this.#lost.close();
    this.#slots.close();
    // Best effort: where it fails, the leases run out.
    await Promise.allSettled([...this.#instances].map((instance) => this.#beatAll(instance, 0)));
    this.#connection.close();
  }

  #permitQueue(): RedisPermitQueue {
    const room = this.#realms.room();
    return new RedisPermitQueue({
      isCluster: this.#connection.isCluster,
      run: (gateway, requests) => {
        const clock = this.#clock === undefined ? "" : String(this.#clock.nowMs());
        const args: (string | Buffer)[] = [clock, gateway];
        for (const request of requests)
          args.push(request.letter, String(request.args.length), ...request.args);
        return this.#connection.run(0, ROOM, [room], args) as Promise<readonly unknown[]>;
      },
      encode: ({ id, ttlMs, subjects }) => this.#encode({ realm: 0, subjects }, { id, ttlMs, step: 0 }),
      subjectKey: (key) => this.#realms.subject(0, key),
      granted: (call) => this.#slots.opened(call),
      release: async (request) => {
        try {
          await this.release(request);
        } catch {
          this.#lost.add(request.id, request);
        }
      },
      listen: (gateway, onMessage, lost) =>
        this.#connection.subscribe(`${room}g:${gateway}`, onMessage, lost),
    });
  }

  async #hold(request: ReserveRequest, amounts: Amounts, force: Force): Promise<ReserveOutcome> {
    const parts = splitByRealm(request.subjects, this.#realms);
    const isNew = amounts.step === 0;
    if (isNew) this.#lost.take(request.id);
    try {
      const outcome =
        parts.length === 1
          ? await this.#holdPart(parts[0], amounts, force)
          : await this.#holdParts(request, parts, amounts, force);
      if (outcome.kind === "admitted") this.#slots.opened(request);
      return outcome;
    } catch (error) {
      if (isNew) this.#lost.add(request.id, request);
      throw error;
    }
  }

  async #holdPart(part: RealmPart, amounts: Amounts, force: Force): Promise<ReserveOutcome> {
    const call = this.#encodeForBatch(part, amounts, force);
    return decodeReply((await this.#reserves[part.realm].send(call)) as Buffer, part.specs);
  }

  async #holdParts(
    request: ReserveRequest,
    parts: readonly RealmPart[],
    amounts: Amounts,
    force: Force,
  ): Promise<ReserveOutcome> {
    if (force === FORCE.no) {
      const looks = parts.map((part) => this.#holdPart(part, amounts, FORCE.lookOnly));
      const found = joinOutcomes(parts, await Promise.all(looks));
      if (found.kind !== "admitted") return found;
    }
    const holds = await allOrFirstError(parts.map((part) => this.#holdPart(part, amounts, force)));
    const outcome = joinOutcomes(parts, holds);
    // An extension that was refused in one place stays held in the others until the call is settled: safe, and seldom.
    if (outcome.kind !== "admitted" && amounts.step === 0) {
      await this.#giveBack(request, SETTLE_MODE.release);
    }
    return outcome;
  }

  #giveBack({ id, subjects }: ReleaseRequest, mode: number): Promise<SettleOutcome> {
    return this.#end({ id, subjects: withoutUse(subjects) }, mode);
  }

  async #end(request: SettleRequest, mode: number): Promise<SettleOutcome> {
    const parts = splitByRealm(request.subjects, this.#realms);
    const amounts = { id: request.id, ttlMs: 0, step: mode };
    const send = async (part: RealmPart) =>
      decodeSettleReply(await this.#settles[part.realm].send(this.#encodeForBatch(part, amounts, FORCE.no)));
    return parts.length === 1 ? send(parts[0]) : joinSettled(await allOrFirstError(parts.map(send)));
  }

  #encode({ realm, subjects }: Part, { id, ttlMs, step }: Amounts): EncodedCall {
    const { request, hasConcurrency } = encodeRequest({ id, step, force: FORCE.no, ttlMs, subjects });
    return { keys: this.#keys(realm, subjects, hasConcurrency), request };
  }

  #encodeForBatch({ realm, subjects }: Part, { id, ttlMs, step }: Amounts, force: Force): BatchedCall {
    const { plan, request, hasConcurrency } = this.#plans.encode({ id, step, force, ttlMs, subjects });
    return { keys: this.#keys(realm, subjects, hasConcurrency), plan, request };
  }

  #keys(realm: number, subjects: RealmPart["subjects"], hasConcurrency: boolean): readonly string[] {
    const realms = this.#realms;
    const keys: string[] = [];
    for (const { key } of subjects) keys.push(realms.subject(realm, key));
    if (hasConcurrency) keys.push(realms.gateways(realm));
    return keys;
  }

  #run(
    realm: number,
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<unknown> {
    const clock = this.#clock === undefined ? "" : String(this.#clock.nowMs());
    return this.#connection.run(realm, script, keys, [clock, ...args]);
  }

  #beatAll(instance: number, leaseMs: number): Promise<number[]> {
    const args = [String(instance), String(leaseMs)];
    if (this.#clock !== undefined) args.push(String(this.#clock.nowMs()));
    const beats: Promise<number>[] = [];
    for (let realm = 0; realm < this.#realms.count; realm++) {
      beats.push(this.#connection.run(realm, BEAT, [this.#realms.gateways(realm)], args).then(Number));
    }
    return allOrFirstError(beats);
  }
}

/** Waits for all of them even if one fails, so that nothing is under way when the caller is told. */
async function allOrFirstError<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}
