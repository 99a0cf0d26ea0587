import type { Buffer } from "node:buffer";
import type { LimitReading } from "../../core/limits/limit-spec.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  ExtendRequest,
  LimitStore,
  ReadRequest,
  ReservationId,
  ReserveOutcome,
  ReserveRequest,
  SettleOutcome,
  SettleRequest,
} from "../../ports/limit-store.ts";
import type { Telemetry } from "../../ports/telemetry.ts";
import { ExpiringSlots } from "./expiring-slots.ts";
import { LostReservations } from "./lost-reservations.ts";
import { joinOutcomes, joinReadings, joinSettled, type RealmPart, splitByRealm } from "./realm-split.ts";
import { Realms } from "./realms.ts";
import { RedisConnection } from "./redis-connection.ts";
import type { RedisAddress } from "./redis-url.ts";
import {
  decodeReadReply,
  decodeReply,
  decodeSettleReply,
  encodeId,
  encodeRequest,
  FORCE,
  SETTLE_MODE,
} from "./request-codec.ts";
import { BEAT, READ, RESERVE, SETTLE } from "./scripts.ts";

export interface RedisLimitStoreOptions {
  readonly address: RedisAddress;
  readonly keyPrefix: string;
  readonly realms: number;
  readonly deadlineMs: number;
  readonly telemetry: Telemetry;
  /** Tests only: this clock decides instead of the server's. */
  readonly clock: Clock | undefined;
}

const NO_ID: ReservationId = { instance: 0, sequence: 0 };

type Amounts = Pick<ReserveRequest, "id" | "ttlMs"> & { readonly step: number };
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
  readonly #connection: RedisConnection;
  readonly #realms: Realms;
  readonly #clock: Clock | undefined;
  readonly #lost: LostReservations;
  readonly #slots: ExpiringSlots;
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
      scripts: [RESERVE, SETTLE, READ, BEAT],
      probeKeys: realms.map((realm) => this.#realms.probe(realm)),
    });
    this.#lost = new LostReservations((request) => this.#end(request, SETTLE_MODE.release));
    this.#slots = new ExpiringSlots(
      (request) => this.#end(request, SETTLE_MODE.giveUp),
      () => telemetry.count("reservation-unsettled"),
    );
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
    this.#lost.forget(request.id);
    this.#slots.closed(request.id);
    return this.#end(request, SETTLE_MODE.settle);
  }

  release(request: SettleRequest): Promise<SettleOutcome> {
    this.#lost.forget(request.id);
    this.#slots.closed(request.id);
    return this.#end(withoutUse(request), SETTLE_MODE.release);
  }

  async read(requests: readonly ReadRequest[]): Promise<readonly LimitReading[]> {
    const subjects = requests.map(({ key, specs }) => ({ key, charges: specs.map((spec) => ({ spec })) }));
    const parts = splitByRealm(subjects, this.#realms);
    const readings = await Promise.all(
      parts.map(async (part) => {
        const reply = await this.#send(part, READ, { id: NO_ID, ttlMs: 0, step: 0 }, FORCE.no);
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
    this.#lost.close();
    this.#slots.close();
    // Best effort: where it fails, the leases run out.
    await Promise.allSettled([...this.#instances].map((instance) => this.#beatAll(instance, 0)));
    this.#connection.close();
  }

  async #hold(request: ReserveRequest, amounts: Amounts, force: Force): Promise<ReserveOutcome> {
    const parts = splitByRealm(request.subjects, this.#realms);
    const isNew = amounts.step === 0;
    if (isNew) this.#lost.forget(request.id);
    try {
      const outcome =
        parts.length === 1
          ? await this.#holdPart(parts[0], amounts, force)
          : await this.#holdParts(request, parts, amounts, force);
      if (outcome.kind === "admitted") this.#slots.opened(request);
      return outcome;
    } catch (error) {
      if (isNew) this.#lost.add(withoutUse(request));
      throw error;
    }
  }

  async #holdPart(part: RealmPart, amounts: Amounts, force: Force): Promise<ReserveOutcome> {
    return decodeReply((await this.#send(part, RESERVE, amounts, force)) as Buffer, part.specs);
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
      await this.#end(withoutUse(request), SETTLE_MODE.release);
    }
    return outcome;
  }

  async #end(request: SettleRequest, mode: number): Promise<SettleOutcome> {
    const parts = splitByRealm(request.subjects, this.#realms);
    const amounts = { id: request.id, ttlMs: 0, step: mode };
    const send = async (part: RealmPart) =>
      decodeSettleReply(await this.#send(part, SETTLE, amounts, FORCE.no));
    return parts.length === 1 ? send(parts[0]) : joinSettled(await allOrFirstError(parts.map(send)));
  }

  #send(part: RealmPart, script: typeof RESERVE, amounts: Amounts, force: Force): Promise<unknown> {
    const { id, ttlMs, step } = amounts;
    const { realm, subjects } = part;
    const { numbers, keepMs, hasConcurrency } = encodeRequest({ id, step, force, ttlMs, subjects });
    const realms = this.#realms;
    const keys: string[] = [];
    for (const { key } of subjects) keys.push(realms.subject(realm, key));
    if (script !== READ) keys.push(realms.reservation(realm, id.instance, id.sequence));
    if (hasConcurrency) keys.push(realms.gateways(realm));
    const args: (string | Buffer)[] = [numbers, encodeId(id), keepMs];
    if (this.#clock !== undefined) args.push(String(this.#clock.nowMs()));
    return this.#connection.run(realm, script, keys, args);
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

/** What releases a reservation. */
function withoutUse({ id, subjects }: ReserveRequest | SettleRequest): SettleRequest {
  return {
    id,
    subjects: subjects.map(({ key, charges }) => ({
      key,
      charges: charges.map(({ spec }) => ({ spec, actual: 0 })),
    })),
  };
}
