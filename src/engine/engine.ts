import type { LimitReading } from "../core/limits/limit-spec.ts";
import { type CallCharges, type CallTarget, chargesFor, limitsOf } from "../core/policy/charges.ts";
import type { CompiledPolicy } from "../core/policy/compiled-policy.ts";
import type { Caller, LimitRule } from "../core/policy/policy.ts";
import type { CalibrationStore } from "../ports/calibration-store.ts";
import type { Clock } from "../ports/clock.ts";
import type { LimitStore } from "../ports/limit-store.ts";
import type { HeaderLimit, Refusal } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { CallEstimates, type EstimatedCall } from "./call-estimates.ts";
import { EstimateExchange } from "./estimate-exchange.ts";
import { GuardedStore } from "./guarded-store.ts";
import { HeldReservation, type Reservation } from "./held-reservation.ts";
import { overLimitRefusal, tooLargeRefusal } from "./refusal.ts";

/** What is asked of the engine before a call is sent. */
export type CallRequest = EstimatedCall;

export type Admission =
  | { readonly kind: "admitted"; readonly reservation: Reservation; readonly limits: readonly HeaderLimit[] }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly limits: readonly HeaderLimit[] };

const SECOND_MS = 1_000;
const CALENDAR_SECONDS = { day: 86_400, week: 604_800, month: 2_678_400 } as const;

function windowSeconds({ window }: LimitRule): number | undefined {
  switch (window.kind) {
    case "rolling":
    case "token_bucket":
      return Math.ceil(window.windowMs / SECOND_MS);
    case "calendar":
      return CALENDAR_SECONDS[window.unit];
    case "open":
      return undefined;
  }
}

/** A caller's limit as `GET /sluice/v1/limits` shows it. */
export interface LimitView {
  readonly rule: LimitRule;
  readonly reading: LimitReading;
}

/**
 * The life of a call: admit → (wait) → dispatch → meter → settle. Decides over every limit in one step of the store; where the store has no
 * answer, each limit's own policy has.
 */
export class Engine {
  readonly #store: GuardedStore;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  readonly #estimates: CallEstimates;
  readonly #exchange: EstimateExchange | undefined;
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
  }) {
    this.#store = new GuardedStore(options.store, options.fallback, options.telemetry, options.clock);
    this.#policy = options.policy;
    this.#telemetry = options.telemetry;
    this.#clock = options.clock;
    this.#estimates = new CallEstimates(options.telemetry);
    const { calibrations, telemetry } = options;
    if (calibrations !== undefined) {
      this.#exchange = new EstimateExchange(this.#estimates, calibrations, telemetry);
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
    await Promise.all([this.#store.stop(), this.#exchange?.stop()]);
  }

  /** From now on these limits apply; what is counted stays. */
  usePolicy(policy: CompiledPolicy): void {
    this.#policy = policy;
  }

  /**
   * Decides whether the call may be sent now. A denial is a value; rejects with an `OperationalError` `store_unavailable` where a limit wants
   * nothing admitted unchecked, and with `invalid_request` where the caller's plan does not exist.
   */
  async admit(call: CallRequest): Promise<Admission> {
    const { caller, target } = call;
    const size = this.#estimates.sizeOf(call);
    const charges = chargesFor(this.#policy, caller, target, size, this.#clock.nowMs());
    // A call that no limit applies to needs no decision.
    if (charges.rules.length === 0) return { kind: "admitted", reservation: UNLIMITED, limits: [] };
    const outcome = await this.#store.reserve(charges.subjects, charges.rules);
    const limits = outcome.readings === undefined ? [] : headerLimits(charges, outcome.readings);
    // `when_limited: wait` and `defer` take over here: what is refused now becomes a place in the waiting room, or a job.
    if (outcome.kind !== "held") {
      this.#telemetry.count("call-refused", { reason: outcome.kind });
      return { kind: "refused", refusal: refusalOf(charges, outcome), limits };
    }
    for (const index of outcome.overShadow) {
      this.#telemetry.count("shadow-exceeded", { limit: charges.rules[index].name });
    }
    this.#telemetry.count("call-admitted");
    const reservation = new HeldReservation(this.#store, this.#estimates, call, size, charges, outcome.held);
    return { kind: "admitted", reservation, limits };
  }

  /** Every limit of the caller, as it stands. Rejects with `store_unavailable`. */
  async limits(caller: Caller, target: Omit<CallTarget, "endpoint">): Promise<readonly LimitView[]> {
    const { requests, rules } = limitsOf(this.#policy, caller, target, this.#clock.nowMs());
    const readings = await this.#store.read(requests);
    return rules.map((rule, i) => ({ rule, reading: readings[i] }));
  }
}

const UNLIMITED: Reservation = {
  settle: async () => {},
  release: async () => {},
  grow: () => undefined,
};

function headerLimits(charges: CallCharges, readings: readonly LimitReading[]): HeaderLimit[] {
  const limits: HeaderLimit[] = [];
  for (let i = 0; i < readings.length; i++) {
    const rule = charges.rules[i];
    // A limit in shadow mode binds nobody, and nobody should plan by it. Money has no unit in these headers.
    if (rule.mode === "shadow" || rule.meter === "cost") continue;
    limits.push({
      name: rule.name,
      meter: rule.meter,
      limit: rule.limit,
      windowSeconds: windowSeconds(rule),
      reading: readings[i],
    });
  }
  return limits;
}

function refusalOf(
  charges: CallCharges,
  outcome: {
    readonly kind: "refused" | "never_fits";
    readonly waitMs: number;
    readonly limiting: number;
    readonly readings: readonly LimitReading[] | undefined;
  },
): Refusal {
  const rule = charges.rules[outcome.limiting];
  const charge = charges.subjects.flatMap((subject) => subject.charges)[outcome.limiting];
  return outcome.kind === "never_fits"
    ? tooLargeRefusal(rule, charge.need, charge.spec.capacity)
    : overLimitRefusal(rule, charge.need, outcome.readings?.[outcome.limiting], outcome.waitMs);
}
