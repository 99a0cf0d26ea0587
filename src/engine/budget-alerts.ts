import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { LimitReading } from "../core/limits/limit-spec.ts";
import {
  BEING_TOLD,
  endsInMs,
  isUsedUpFor,
  type ShareCounter,
  shareCounter,
  sharesReached,
  watchedSubjects,
} from "../core/policy/budget-shares.ts";
import type { CallCharges } from "../core/policy/charges.ts";
import type { CompiledRule } from "../core/policy/compiled-policy.ts";
import { limitId } from "../core/policy/limit-identity.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import { subjectAttributes } from "../core/policy/subject-key.ts";
import { windowTextInZone } from "../core/policy/window-text.ts";
import { formatUsd } from "../core/price/usd.ts";
import type { AlertChannel, AlertDelivery, BudgetAlert } from "../ports/alert-channel.ts";
import type { Clock } from "../ports/clock.ts";
import type { LimitStore, ReservationId } from "../ports/limit-store.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { Claims } from "./claims.ts";
import { isUnavailable } from "./pending-steps.ts";

/** After something was used: many calls of one subject are one look. */
const LOOK_MS = 500;
/** While the store is away, and while another gateway is telling: should it die, somebody else has to. */
const LOOK_AGAIN_MS = 10_000;
/** How often a channel is asked that is full: a quarter of an hour, as long as it tries itself. */
const ASKED_AGAIN_MAX = 450;
/** Between two of these. */
const ASK_AGAIN_MS = 2_000;
/** Alerts under way, with those that wait for room in the channel. */
const TELLING_MAX = 10_000;
/** Subjects in one look: a script of some hundred microseconds. */
const SUBJECTS_MAX = 100;
/** Subjects to be looked at: what one gateway's calls touch in half a second, and a bound while the store is away. */
const TOUCHED_MAX = 50_000;
/** Shares remembered as told, so that the store is not asked again: it knows. */
const REMEMBERED_MAX = 20_000;

/** A limit of a subject that was used since the last look. */
interface Touched {
  readonly key: string;
  readonly compiled: CompiledRule;
  /** Whether it has refused a call for what was used of it. */
  isRefusing: boolean;
}

/**
 * Tells when a limit has been used up to a share: a line in the log, a metric, and whatever the channel is. Once a subject, share and window, over all gateways
 * on a store and over restarts, by a counter in the store (`shareCounter`); a gateway that dies while it tells leaves that to others.
 *
 * What a call has used is looked at shortly after, off its path, and many calls at once.
 */
export class BudgetAlerts {
  readonly #store: LimitStore;
  readonly #claims: Claims;
  readonly #channel: AlertChannel | undefined;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #touched = new Map<string, Touched>();
  /** Those that are to be looked at again, all at one time. */
  readonly #later = new Map<string, Touched>();
  #laterTimer: NodeJS.Timeout | undefined;
  /** Until when a share is known to be told. */
  readonly #told = new Map<string, number>();
  readonly #telling = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #isStopped = false;
  readonly #stopping = Promise.withResolvers<void>();

  /** `channel` is closed by `stop`. */
  constructor(
    store: LimitStore,
    claims: Claims,
    channel: AlertChannel | undefined,
    telemetry: Telemetry,
    clock: Clock,
  ) {
    this.#store = store;
    this.#claims = claims;
    this.#channel = channel;
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  /** The call has been settled. */
  used(charges: CallCharges): void {
    for (const { key, rules } of watchedSubjects(charges)) {
      for (const compiled of rules) this.#touch(key, compiled, false);
    }
  }

  /** The call has been refused by the limit `limiting`, which stands as `reading` says. */
  refused(charges: CallCharges, limiting: number, reading: LimitReading | undefined): void {
    const rule = charges.rules[limiting];
    if (reading === undefined || rule.alertsAt === undefined) return;
    let next = 0;
    for (const { key, charges: asked } of charges.subjects) {
      if (limiting < next + asked.length) {
        const { need } = asked[limiting - next];
        if (isUsedUpFor(rule, reading, need)) this.#touch(key, charges.compiled[limiting], true);
        return;
      }
      next += asked.length;
    }
  }

  /** Looks a last time; what cannot be told any more is left to others. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#laterTimer);
    await this.#looking;
    // What waits to be looked at again is looked at by this look, not by a timer that nobody waits for.
    for (const { key, compiled, isRefusing } of this.#later.values()) this.#touch(key, compiled, isRefusing);
    await this.look();
    this.#isStopped = true;
    this.#stopping.resolve();
    clearTimeout(this.#timer);
    clearTimeout(this.#laterTimer);
    await this.#channel?.close();
    await Promise.all(this.#telling);
  }

  #touch(key: string, compiled: CompiledRule, isRefusing: boolean): void {
    const name = touchedName(key, compiled);
    const known = this.#touched.get(name);
    if (known !== undefined) known.isRefusing ||= isRefusing;
    else if (this.#touched.size < TOUCHED_MAX) this.#touched.set(name, { key, compiled, isRefusing });
    this.#schedule(LOOK_MS);
  }

  #schedule(inMs: number): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.look();
    }, inMs).unref();
  }

  /** What the timer does. Never rejects. */
  async look(): Promise<void> {
    const touched = [...this.#touched.values()].filter((one) => !this.#isTold(one));
    this.#touched.clear();
    let from = 0;
    try {
      for (; from < touched.length; from += SUBJECTS_MAX) {
        await this.#lookAt(touched.slice(from, from + SUBJECTS_MAX));
      }
    } catch (error) {
      if (isUnavailable(error)) this.#telemetry.count("store-failed", { store: "alerts" });
      else this.#telemetry.log("error", "budgets could not be looked at", { error: String(error) });
      for (const one of touched.slice(from)) this.#again(one);
    }
  }

  #again(one: Touched): void {
    if (this.#later.size < TOUCHED_MAX) this.#later.set(touchedName(one.key, one.compiled), one);
    this.#laterTimer ??= setTimeout(() => {
      this.#laterTimer = undefined;
      const later = [...this.#later.values()];
      this.#later.clear();
      for (const { key, compiled, isRefusing } of later) this.#touch(key, compiled, isRefusing);
    }, LOOK_AGAIN_MS).unref();
  }

  async #lookAt(touched: readonly Touched[]): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const requests = touched.map(({ key, compiled }) => ({ key, specs: [compiled.specAt(nowMs)] }));
    const readings = await this.#store.read(requests);
    for (const [i, { key, compiled, isRefusing }] of touched.entries()) {
      for (const share of sharesReached(compiled.rule, readings[i], isRefusing)) {
        await this.#reached(key, compiled, share, readings[i], isRefusing, nowMs);
      }
    }
  }

  async #reached(
    key: string,
    compiled: CompiledRule,
    share: number,
    reading: LimitReading,
    isRefusing: boolean,
    nowMs: number,
  ): Promise<void> {
    const { rule } = compiled;
    if (this.#isRemembered(key, rule, share)) return;
    const counter = shareCounter(key, rule, share, reading, nowMs);
    const claim = await this.#claims.take(counter.take);
    if (claim.kind === "taken") {
      if (claim.limiting === BEING_TOLD) this.#again({ key, compiled, isRefusing });
      else this.#remember(key, rule, share, claim.waitMs);
      return;
    }
    // The window that was told can end no later than it could from its very start.
    this.#remember(key, rule, share, endsInMs(rule, reading) ?? windowMs(rule));
    const telling = this.#tell(
      alertOf(key, rule, share, reading, claim.id, counter, nowMs),
      claim.id,
      counter,
    );
    this.#telling.add(telling);
    void telling.finally(() => this.#telling.delete(telling));
  }

  /** Never rejects. */
  async #tell(alert: BudgetAlert, id: ReservationId, counter: ShareCounter): Promise<void> {
    const { limitName, share } = alert;
    this.#telemetry.count("alert-raised", { limit: limitName, share: String(share) });
    this.#telemetry.log("warn", `a limit has been used up to ${share} %`, logged(alert));
    const delivery = await this.#deliver(alert);
    const request = { id, subjects: [counter.told] };
    try {
      if (delivery === "unfinished") await this.#claims.release(request);
      // What failed for good was told by the log, and would fail again.
      else await this.#claims.settle(request);
    } catch (error) {
      this.#telemetry.log("error", "an alert could not be marked as told", { error: String(error) });
    }
  }

  /** Waits for room in the channel, within bounds. */
  async #deliver(alert: BudgetAlert): Promise<AlertDelivery> {
    for (let asked = 0; asked < ASKED_AGAIN_MAX && this.#telling.size < TELLING_MAX; asked++) {
      const delivery = (await this.#channel?.send(alert)) ?? "delivered";
      if (delivery !== "full") return delivery;
      await Promise.race([delay(ASK_AGAIN_MS, undefined, { ref: false }), this.#stopping.promise]);
      if (this.#isStopped) return "unfinished";
    }
    const { id, limitName: limit, share } = alert;
    this.#telemetry.count("alert-undelivered", { reason: "queue_full" });
    this.#telemetry.log("error", "an alert could not be delivered: too many are under way", {
      alert: id,
      limit,
      share,
    });
    return "failed";
  }

  #isTold({ key, compiled: { rule } }: Touched): boolean {
    return rule.alertsAt?.every((share) => this.#isRemembered(key, rule, share)) ?? true;
  }

  #isRemembered(key: string, rule: LimitRule, share: number): boolean {
    return (this.#told.get(nameOf(key, rule, share)) ?? 0) > this.#clock.nowMs();
  }

  #remember(key: string, rule: LimitRule, share: number, forMs: number): void {
    const name = nameOf(key, rule, share);
    this.#told.delete(name);
    this.#told.set(name, this.#clock.nowMs() + forMs);
    if (this.#told.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#told.keys()) {
      this.#told.delete(oldest);
      return;
    }
  }
}

const touchedName = (key: string, { rule }: CompiledRule) => `${limitId(rule)} ${key}`;

const nameOf = (key: string, rule: LimitRule, share: number) =>
  `${limitId(rule)} ${rule.limit} ${share} ${key}`;

const windowMs = ({ window }: LimitRule) =>
  window.kind === "rolling" || window.kind === "token_bucket" ? window.windowMs : 0;

function alertOf(
  key: string,
  rule: LimitRule,
  share: number,
  reading: LimitReading,
  { instance, sequence }: ReservationId,
  { take }: ShareCounter,
  nowMs: number,
): BudgetAlert {
  const endMs = endsInMs(rule, reading);
  // A rolling window has no name that two gateways would give it.
  const occasion = endMs === undefined ? `${instance}:${sequence}` : "";
  const identity = JSON.stringify([take.key, take.charges[0].spec.id, occasion]);
  return {
    id: `alert_${createHash("sha256").update(identity).digest("hex").slice(0, 32)}`,
    atMs: nowMs,
    limitName: rule.name,
    subject: subjectAttributes(key),
    meter: rule.meter,
    share,
    limit: rule.limit,
    used: reading.used,
    held: reading.held,
    per: windowTextInZone(rule.window) ?? "at once",
    resetsAtMs: endMs === undefined ? undefined : nowMs + endMs,
    mode: rule.mode,
  };
}

/** In the units of the configuration. */
function logged({ limitName, subject, meter, share, limit, used, per, mode, id }: BudgetAlert) {
  const amount = (value: number) => (meter === "cost" ? `${formatUsd(value)} USD` : `${value} ${meter}`);
  return {
    alert: id,
    limit: limitName,
    ...subjectField(subject),
    share,
    of: amount(limit),
    used: amount(used),
    per,
    mode,
  };
}

const subjectField = (subject: Readonly<Record<string, string>>) =>
  Object.keys(subject).length === 0 ? {} : { subject };
