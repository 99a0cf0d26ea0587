import { GrowingHold, type HoldExtension } from "../core/estimate/growing-hold.ts";
import type { Usage } from "../core/estimate/usage.ts";
import { serviceOf } from "../core/fairness/service.ts";
import { actualsFor, type CallCharges, type CallSize, costOfCall } from "../core/policy/charges.ts";
import { cuttingRule, extensionFor, outputBefore } from "../core/policy/hold-extension.ts";
import { tokensUsed } from "../core/policy/token-amount.ts";
import type { Refusal } from "../ports/provider-format.ts";
import type { BudgetAlerts } from "./budget-alerts.ts";
import type { CallEstimates, EstimatedCall, RunningAnswer } from "./call-estimates.ts";
import type { Held } from "./guarded-outcome.ts";
import type { GuardedStore } from "./guarded-store.ts";
import type { HoldMetrics } from "./hold-metrics.ts";
import { overLimitRefusal } from "./refusal.ts";
import type { UncountedCost } from "./uncounted-cost.ts";

/**
 * Where a usage comes from: the provider's own word on a whole answer, which is learned from, or a count of what was seen of it; `interrupted` where the provider was
 * stopped before anything was seen of what it wrote: then no less is charged than what is held, which is what such calls use; `unseen` where the provider
 * works on and nobody hears what that uses: then no less than the call's own maximum is charged, or what is held where it has none.
 */
export type UsageSource = "reported" | "counted" | "interrupted" | "unseen";

/** An answer on its way, see `UsageMeter`. */
export interface InputReport {
  inputTokens(): number | undefined;
}

/** What an admitted call holds. Exactly one of `settle` and `release` counts: the first. */
export interface Reservation {
  /** The call was sent; `usage` is absent where it used no model tokens. Resolves when it is charged or safely queued; never rejects. */
  settle(usage: Usage | undefined, source?: UsageSource): Promise<void>;
  /** Whether `costOf` has an answer: a limit counts money, so that the price is known. */
  readonly isPriced: boolean;
  /** What such a usage costs, in nano-USD, as `settle` would charge it. Undefined where nobody knows. */
  costOf(usage: Usage): number | undefined;
  /** The call was never sent: everything goes back. */
  release(): Promise<void>;
  /**
   * The answer has so much output so far. Holds more where that comes near to what is held; resolves with a refusal where a limit that is used up wants the
   * stream to end (`on_exhausted: cut`). Undefined, which costs next to nothing, while enough is held. Never rejects. `answer` knows of the input what the
   * provider has said so far.
   */
  grow(emittedTokens: number, answer?: InputReport): Promise<Refusal | undefined> | undefined;
}

/** Whoever wants to know what became of calls. */
export interface CallObservers {
  readonly estimates: CallEstimates;
  readonly alerts: BudgetAlerts;
  readonly uncounted: UncountedCost;
  readonly holds: HoldMetrics;
}

/** What the engine has admitted: held in the store, grown with the answer, learned from at its end. */
export class HeldReservation implements Reservation {
  readonly #store: GuardedStore;
  readonly #observers: CallObservers;
  readonly #call: EstimatedCall;
  readonly #size: CallSize;
  readonly #charges: CallCharges;
  readonly #held: Held;
  readonly #hold: GrowingHold;
  readonly #running: RunningAnswer;
  #isOpen = true;

  constructor(
    store: GuardedStore,
    observers: CallObservers,
    call: EstimatedCall,
    size: CallSize,
    charges: CallCharges,
    held: Held,
  ) {
    this.#store = store;
    this.#observers = observers;
    this.#call = call;
    this.#size = size;
    this.#charges = charges;
    this.#held = held;
    this.#hold = new GrowingHold(outputBefore(charges), charges.outputTokensMax);
    this.#running = observers.estimates.begin(call, size);
  }

  get isPriced(): boolean {
    return this.#charges.price !== undefined;
  }

  costOf(usage: Usage): number | undefined {
    return costOfCall(this.#charges, usage);
  }

  async settle(usage: Usage | undefined, source?: UsageSource): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { estimates, alerts, uncounted, holds } = this.#observers;
    if (usage !== undefined && source === "reported") {
      estimates.learn(this.#call, this.#running, usage);
      holds.settled(this.#call, this.#charges, usage);
    } else estimates.dropped(this.#running);
    if (usage !== undefined) uncounted.served(this.#call.target, this.#charges.price, usage);
    const charged = source === undefined || source === "reported" ? usage : this.#charged(usage, source);
    const service = serviceOf(tokensUsed(charged));
    await this.#store.settle(this.#held, actualsFor(this.#charges, charged), service);
    alerts.used(this.#charges);
  }

  #charged(usage: Usage | undefined, source: Exclude<UsageSource, "reported">): Usage | undefined {
    const corrected = this.#withCorrectedInput(usage);
    if (corrected === undefined || source === "counted") return corrected;
    const { outputTokensHeld, outputTokensMax = outputTokensHeld } = this.#charges;
    const least = source === "unseen" ? outputTokensMax : outputTokensHeld;
    return { ...corrected, outputTokens: Math.max(corrected.outputTokens, least) };
  }

  /** Where the provider has not said what the input was, it is what calls like this one have used: what is held, not the bare estimate (E1). */
  #withCorrectedInput(usage: Usage | undefined): Usage | undefined {
    if (usage === undefined || usage.inputTokens !== this.#call.size.inputTokens) return usage;
    return { ...usage, inputTokens: this.#size.inputTokens };
  }

  async release(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#observers.estimates.dropped(this.#running);
    await this.#store.release(this.#held, this.#charges.subjects);
  }

  grow(emittedTokens: number, answer?: InputReport): Promise<Refusal | undefined> | undefined {
    if (!this.#isOpen) return undefined;
    this.#observers.estimates.emitted(this.#running, emittedTokens);
    const due = this.#hold.due(emittedTokens);
    if (due === undefined) return undefined;
    return this.#extend(due, emittedTokens, answer?.inputTokens());
  }

  async #extend(
    { step, outputTokens }: HoldExtension,
    emittedTokens: number,
    inputTokens: number | undefined,
  ): Promise<Refusal | undefined> {
    const from = this.#hold.heldTokens;
    const subjects = extensionFor(this.#charges, { from, to: from + outputTokens }, inputTokens);
    if (subjects.every(({ charges }) => charges.every(({ need }) => need === 0))) {
      this.#hold.extended();
      return undefined;
    }
    const outcome = await this.#store.extend(this.#held, subjects, step, false);
    switch (outcome?.kind) {
      case undefined:
        this.#hold.unknown();
        return undefined;
      case "admitted":
        this.#hold.extended();
        return undefined;
      case "closed":
        this.#hold.exhausted();
        return undefined;
      case "refused":
      case "never_fits":
        break;
    }
    const rule = cuttingRule(this.#charges, subjects, outcome.readings);
    if (rule === undefined) {
      // It is used whether it is held or not: held, other calls wait for it.
      const forced = await this.#store.extend(this.#held, subjects, step, true);
      if (forced?.kind === "admitted") this.#hold.extended();
      else if (forced === undefined) this.#hold.unknown();
      else this.#hold.exhausted();
      return undefined;
    }
    // A stream is not ended for a slice that is larger than what is left.
    const smaller = this.#hold.smaller();
    if (smaller !== undefined) return this.#extend(smaller, emittedTokens, inputTokens);
    if (this.#hold.usesRest(emittedTokens)) return undefined;
    this.#hold.exhausted();
    const index = this.#charges.rules.indexOf(rule);
    const { need } = subjects.flatMap(({ charges }) => charges)[index];
    const reading = outcome.readings[index];
    // What never fits beside what is used already does when that is back.
    const waitMs = outcome.kind === "refused" ? outcome.waitMs : reading.fullInMs;
    return overLimitRefusal(rule, need, reading, waitMs);
  }
}
