import { lowerPriority, PRIORITIES } from "../core/fairness/permit.ts";
import { serviceOf } from "../core/fairness/service.ts";
import type { LimitReading, LimitSpec } from "../core/limits/limit-spec.ts";
import { OperationalError } from "../core/operational-error.ts";
import { limitsOf } from "../core/policy/applying-rules.ts";
import type { CallTarget } from "../core/policy/call-target.ts";
import { type CallCharges, type CallSize, chargesFor } from "../core/policy/charges.ts";
import type { CompiledPolicy } from "../core/policy/compiled-policy.ts";
import type { Caller, LimitRule, Plan, Priority } from "../core/policy/policy.ts";
import { unreadPathLabel } from "../core/policy/unread-path.ts";
import type { AlertChannel } from "../ports/alert-channel.ts";
import type { CalibrationStore } from "../ports/calibration-store.ts";
import type { Clock } from "../ports/clock.ts";
import type { LimitStore } from "../ports/limit-store.ts";
import type { WaitingCall } from "../ports/permit-queue.ts";
import type { HeaderLimit, Refusal } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { Admission, Decision } from "./admission.ts";
import { BudgetAlerts } from "./budget-alerts.ts";
import { CallEstimates, type EstimatedCall } from "./call-estimates.ts";
import { EstimateExchange } from "./estimate-exchange.ts";
import type { GuardedOutcome, Place, Turn } from "./guarded-outcome.ts";
import { GuardedStore } from "./guarded-store.ts";
import { headerLimits } from "./header-limits.ts";
import { type CallObservers, HeldReservation } from "./held-reservation.ts";
import { HoldMetrics } from "./hold-metrics.ts";
import { isUnavailable } from "./pending-steps.ts";
import { closingRefusal, queueRefusal, refusalOf } from "./refusal.ts";
import { UncountedCost } from "./uncounted-cost.ts";
import { WaitingCalls } from "./waiting-calls.ts";

/** What is asked of the engine before a call is sent. */
export interface CallRequest extends EstimatedCall {
  /** What the client asks for; a higher one than its own changes nothing. */
  readonly priority?: Priority | undefined;
  /** What keeping the call takes of memory while it waits. */
  readonly bytes: number;
}

/** A call under the limits of a moment. */
interface Ask {
  readonly call: CallRequest;
  readonly size: CallSize;
  readonly charges: CallCharges;
  readonly plan: Plan | undefined;
  readonly priority: Priority;
  /** Absent where nobody may wait. */
  readonly turn: Turn | undefined;
}

/** A caller's calls that wait, in whatever gateway. */
export interface WaitingView {
  /** All of them. */
  readonly total: number;
  /** The first of each priority, as many as a look shows: the highest priority's first, each in the order in which they came. */
  readonly first: readonly (WaitingCall & { readonly priority: Priority })[];
}

/** A caller's limit as `GET /sluice/v1/limits` shows it. */
export interface LimitView {
  readonly rule: LimitRule;
  readonly reading: LimitReading;
  /** When its period ends, in epoch milliseconds; calendar windows only. */
  readonly resetsAtMs: number | undefined;
}

/**
 * The life of a call: admit → (wait) → dispatch → meter → settle. Decides over every limit in one step of the store; where the store has no
 * answer, each limit's own policy has.
 */
export class Engine {
  readonly #store: GuardedStore;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #exchange: EstimateExchange | undefined;
  readonly #waiting: WaitingCalls<Ask>;
  readonly #observers: CallObservers;
  #policy: CompiledPolicy;

  /** `store` and `fallback` are owned by whoever made them; close them after `stop`. */
  constructor(options: {
    readonly store: LimitStore;
    readonly fallback: LimitStore;
    readonly policy: CompiledPolicy;
    readonly telemetry: Telemetry;
    readonly clock: Clock;
    /** Where gateways tell each other what calls really use; without it, each learns for itself. */
    readonly calibrations?: CalibrationStore;
    /** Who is told of budgets, beside the log and the metrics. Closed by `stop`. */
    readonly alerts?: AlertChannel;
  }) {
    this.#store = new GuardedStore(options.store, options.fallback, options.telemetry, options.clock);
    this.#policy = options.policy;
    this.#telemetry = options.telemetry;
    this.#clock = options.clock;
    const { store, alerts, telemetry, clock, policy } = options;
    const estimates = new CallEstimates(telemetry);
    this.#observers = {
      estimates,
      alerts: new BudgetAlerts(store, this.#store.claims, alerts, telemetry, clock),
      uncounted: new UncountedCost(telemetry),
      holds: new HoldMetrics(telemetry, policy.models),
    };
    this.#waiting = new WaitingCalls<Ask>(
      {
        retry: async ({ call }, waitedMs) => {
          const ask = this.#ask(call, waitedMs);
          return { ask, outcome: await this.#enter(ask) };
        },
        decide: async (ask, outcome, waitedMs) => this.#decide(ask, outcome, waitedMs),
        release: ({ charges }, held) => this.#store.release(held, charges.subjects),
        turnAway: ({ priority }, waitedMs) => this.#refused(closingRefusal(), [], waitedMs, priority),
      },
      options.telemetry,
      options.clock,
    );
    const { calibrations } = options;
    if (calibrations !== undefined) {
      this.#exchange = new EstimateExchange(estimates, calibrations, telemetry);
    }
  }

  /** How many gateways share the store, this one included. */
  get gateways(): number {
    return this.#store.gateways;
  }

  async start(): Promise<void> {
    await Promise.all([this.#store.start(), this.#exchange?.start()]);
  }

  /** Ends the heartbeat. Calls that are still open must have been settled before. */
  async stop(): Promise<void> {
    // While this gateway still has its lease.
    await this.#observers.alerts.stop();
    await Promise.all([this.#store.stop(), this.#exchange?.stop()]);
  }

  /** From now on these limits apply, also to calls that wait; what is counted stays. */
  usePolicy(policy: CompiledPolicy): void {
    this.#policy = policy;
    this.#observers.holds.useModels(policy.models);
    this.#waiting.renew();
  }

  /** How many calls of this gateway wait, by priority. */
  waitingLengths(): ReadonlyMap<Priority, number> {
    return this.#waiting.lengths();
  }

  /** Refuses every call that waits: the gateway ends, and another one may have room for them. */
  turnAllAway(): void {
    this.#waiting.turnAllAway();
  }

  /**
   * Decides whether the call may be sent now, or gives it a place to wait for its turn. A denial is a value; rejects with an `OperationalError`
   * `store_unavailable` where a limit wants nothing admitted unchecked, and with `invalid_request` where the caller's plan does not exist.
   */
  async admit(call: CallRequest): Promise<Admission> {
    const ask = this.#ask(call, 0);
    // A call that no limit applies to needs no decision.
    if (ask.charges.rules.length === 0) {
      this.#telemetry.count("call-admitted");
      return UNLIMITED;
    }
    const outcome = await this.#enter(ask);
    return outcome.kind === "waiting"
      ? this.#waiting.add(ask, outcome, ask.priority, ask.plan?.keepalive ?? false)
      : this.#decide(ask, outcome, 0);
  }

  /** Throws `invalid_request` where the caller's plan refuses calls whose use nobody counts, as that of a POST to `path` that is passed on unread. */
  assertMayPassUnread({ plan }: Caller, path: string): void {
    if (this.#policy.plan(plan)?.unreadCalls !== "refuse" || unreadPathLabel(path) === undefined) return;
    throw new OperationalError(
      "invalid_request",
      `the plan "${plan}" does not allow this call: limits on model tokens and cost could not count what it uses (\`unread_calls\`)`,
    );
  }

  /** A call to `path` is passed on unread: what it uses, nobody counts. */
  passedUnread(account: string, path: string): void {
    if (this.#policy.metersUse) this.#observers.uncounted.unread(account, path);
  }

  /** An account's answer cannot be read: it is charged what is held, or the call's own maximum. */
  answeredUnreadably(account: string, encoding: string): void {
    if (this.#policy.metersUse) this.#observers.uncounted.unreadable(account, encoding);
  }

  #ask(call: CallRequest, waitedMs: number): Ask {
    const { caller, target } = call;
    const policy = this.#policy;
    const size = this.#observers.estimates.sizeOf(call);
    const charges = chargesFor(policy, caller, target, size, this.#clock.nowMs());
    const plan = policy.plan(caller.plan);
    const own = caller.priority ?? plan?.priority ?? "normal";
    const priority = call.priority === undefined ? own : lowerPriority(own, call.priority);
    if (!policy.mayWait) return { call, size, charges, plan, priority, turn: undefined };
    const turn: Turn = {
      isShared: charges.isShared,
      flow: caller.user,
      priority,
      weight: plan?.weight ?? 1,
      size: serviceOf({
        inputTokens: size.inputTokens,
        cachedInputTokens: 0,
        outputTokens: charges.outputTokensHeld,
      }),
      bytes: call.bytes,
      maxWaitMs: Math.max(0, (plan?.maxWaitMs ?? 0) - waitedMs),
      bounds: policy.room,
    };
    return { call, size, charges, plan, priority, turn };
  }

  #enter({ charges: { subjects, rules }, turn }: Ask): Promise<GuardedOutcome | Place> {
    return turn === undefined
      ? this.#store.reserve(subjects, rules)
      : this.#store.enter(subjects, rules, turn);
  }

  #decide(ask: Ask, outcome: GuardedOutcome, waitedMs: number): Decision | Promise<Decision> {
    const { call, size, charges, plan, priority } = ask;
    switch (outcome.kind) {
      case "held": {
        for (const index of outcome.overShadow) {
          this.#telemetry.count("shadow-exceeded", { limit: charges.rules[index].name });
        }
        this.#telemetry.count("call-admitted");
        const limits = headerLimits(charges, outcome.readings);
        const reservation = new HeldReservation(
          this.#store,
          this.#observers,
          call,
          size,
          charges,
          outcome.held,
        );
        return { kind: "admitted", reservation, limits, waitedMs };
      }
      case "refused":
      case "never_fits": {
        if (outcome.kind === "refused") {
          this.#observers.alerts.refused(charges, outcome.limiting, outcome.readings?.[outcome.limiting]);
        }
        const limits = headerLimits(charges, outcome.readings);
        return this.#refused(refusalOf(charges, outcome), limits, waitedMs, priority);
      }
      case "queue_full":
      case "behind_others":
      case "timed_out": {
        const waits = { maxWaitMs: plan?.maxWaitMs ?? 0, waitedMs };
        return this.#readings(charges).then((readings) => {
          const refusal = queueRefusal(outcome, waits, charges, readings);
          return this.#refused(refusal, headerLimits(charges, readings), waitedMs, priority);
        });
      }
    }
  }

  #refused(
    refusal: Refusal,
    limits: readonly HeaderLimit[],
    waitedMs: number,
    priority: Priority,
  ): Extract<Decision, { readonly kind: "refused" }> {
    this.#telemetry.count("call-refused", { reason: refusal.code, priority });
    return { kind: "refused", refusal, limits, waitedMs };
  }

  /** How the limits of a call stand; undefined while nobody can tell. */
  async #readings({ subjects }: CallCharges): Promise<readonly LimitReading[] | undefined> {
    try {
      return await this.#store.read(
        subjects.map(({ key, charges }) => ({ key, specs: charges.map(({ spec }) => spec) })),
      );
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return undefined;
    }
  }

  /** Every limit of the caller, as it stands. Rejects with `store_unavailable`. */
  async limits(caller: Caller, target: Omit<CallTarget, "endpoint">): Promise<readonly LimitView[]> {
    const nowMs = this.#clock.nowMs();
    const { requests, rules } = limitsOf(this.#policy, caller, target, nowMs);
    const readings = await this.#store.read(requests);
    const specs = requests.flatMap((request) => request.specs);
    return rules.map((rule, i) => ({ rule, reading: readings[i], resetsAtMs: periodEndMs(specs[i], nowMs) }));
  }

  /** Rejects with `store_unavailable`. */
  async waitingOf({ user }: Caller): Promise<WaitingView> {
    if (!this.#policy.mayWait) return { total: 0, first: [] };
    const looks = await this.#store.waiting(user, PRIORITIES);
    return {
      total: looks.reduce((sum, { total }) => sum + total, 0),
      first: looks.flatMap(({ first }, band) =>
        first.map((call) => ({ ...call, priority: PRIORITIES[band] })),
      ),
    };
  }
}

const periodEndMs = (spec: LimitSpec, nowMs: number): number | undefined =>
  spec.algorithm === "calendar_window" ? spec.boundariesMs.find((startMs) => startMs > nowMs) : undefined;

const UNLIMITED: Decision = {
  kind: "admitted",
  reservation: {
    isPriced: false,
    costOf: () => undefined,
    settle: async () => {},
    release: async () => {},
    grow: () => undefined,
  },
  limits: [],
  waitedMs: 0,
};
