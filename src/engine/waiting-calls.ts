import type { Priority } from "../core/policy/policy.ts";
import type { Clock } from "../ports/clock.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { Decision, Waiting } from "./admission.ts";
import type { GuardedOutcome, Held, Place } from "./guarded-outcome.ts";

/** One try to get a call admitted: what it asked for, and what the store said. */
export interface Try<Ask> {
  readonly ask: Ask;
  readonly outcome: GuardedOutcome | Place;
}

/** How calls are tried and decided; `Ask` is what a call asks for under the limits of the moment. */
export interface Trial<Ask> {
  /** Tries again under the limits of now. Rejects as `Engine.admit` does. */
  retry(ask: Ask, waitedMs: number): Promise<Try<Ask>>;
  /** What is said of it. */
  decide(ask: Ask, outcome: GuardedOutcome, waitedMs: number): Promise<Decision>;
  /** Gives back what nobody wants any more. */
  release(ask: Ask, held: Held): Promise<void>;
  /** The refusal of a call that the gateway can keep no longer. */
  turnAway(ask: Ask, waitedMs: number): Decision;
}

interface WaitingCall<Ask> {
  readonly priority: Priority;
  readonly sinceMs: number;
  readonly resolve: (decision: Decision) => void;
  readonly reject: (error: unknown) => void;
  ask: Ask;
  /** Absent while it moves to a new place. */
  place: Place | undefined;
  /** How often it has moved: of several moves under way the last one counts. */
  moves: number;
  decision: Decision | undefined;
  hasLeft: boolean;
}

/**
 * The calls of this gateway that wait for a permit. Each ends in exactly one way: decided, left, or turned away. When the limits change, all of them queue up
 * again, in the order in which they came, for what they ask of the new ones.
 */
export class WaitingCalls<Ask> {
  readonly #trial: Trial<Ask>;
  readonly #telemetry: Telemetry;
  readonly #clock: Clock;
  /** In the order in which they came. */
  readonly #calls = new Set<WaitingCall<Ask>>();

  constructor(trial: Trial<Ask>, telemetry: Telemetry, clock: Clock) {
    this.#trial = trial;
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  /** How many wait, by priority. */
  lengths(): ReadonlyMap<Priority, number> {
    const lengths = new Map<Priority, number>();
    for (const { priority } of this.#calls) lengths.set(priority, (lengths.get(priority) ?? 0) + 1);
    return lengths;
  }

  add(ask: Ask, place: Place, priority: Priority, keepalive: boolean): Waiting {
    const { promise, resolve, reject } = Promise.withResolvers<Decision>();
    // Who leaves does not look at it any more.
    promise.catch(() => {});
    const call: WaitingCall<Ask> = {
      priority,
      sinceMs: this.#clock.nowMs(),
      resolve,
      reject,
      ask,
      place,
      moves: 0,
      decision: undefined,
      hasLeft: false,
    };
    this.#calls.add(call);
    this.#watch(call, place);
    return {
      kind: "waiting",
      expectedMs: place.expectedMs,
      keepalive,
      decision: promise,
      leave: () => this.#leave(call),
    };
  }

  /** The limits have changed. */
  renew(): void {
    const calls = [...this.#calls];
    for (const call of calls) {
      call.place?.leave();
      call.place = undefined;
    }
    for (const call of calls) this.#retry(call);
  }

  /** The gateway ends: they have to come again. */
  turnAllAway(): void {
    for (const call of this.#calls) {
      call.place?.leave();
      this.#end(call, "refused");
      call.resolve(this.#trial.turnAway(call.ask, this.#waitedMs(call)));
    }
  }

  #waitedMs({ sinceMs }: WaitingCall<Ask>): number {
    return Math.max(0, this.#clock.nowMs() - sinceMs);
  }

  #watch(call: WaitingCall<Ask>, place: Place): void {
    const { ask } = call;
    place.decision.then(
      (outcome) => {
        if (this.#calls.has(call) && call.place === place) this.#decide(call, outcome);
        // It came when the call had left or moved already.
        else this.#giveBack(ask, outcome);
      },
      (error: unknown) => {
        if (!this.#calls.has(call) || call.place !== place) return;
        this.#end(call, "refused");
        call.reject(error);
      },
    );
  }

  #decide(call: WaitingCall<Ask>, outcome: GuardedOutcome): void {
    this.#end(call, outcome.kind === "held" ? "granted" : "refused");
    this.#trial.decide(call.ask, outcome, this.#waitedMs(call)).then((decision) => {
      call.decision = decision;
      if (call.hasLeft) this.#giveBackDecision(decision);
      else call.resolve(decision);
    }, call.reject);
  }

  #retry(call: WaitingCall<Ask>): void {
    call.moves += 1;
    const { moves } = call;
    this.#trial.retry(call.ask, this.#waitedMs(call)).then(
      ({ ask, outcome }) => {
        // It left meanwhile, or the limits have changed once more.
        if (!this.#calls.has(call) || call.moves !== moves) {
          if (outcome.kind === "waiting") outcome.leave();
          else this.#giveBack(ask, outcome);
          return;
        }
        call.ask = ask;
        if (outcome.kind === "waiting") {
          call.place = outcome;
          this.#watch(call, outcome);
        } else {
          this.#decide(call, outcome);
        }
      },
      (error: unknown) => {
        if (!this.#calls.has(call) || call.moves !== moves) return;
        this.#end(call, "refused");
        call.reject(error);
      },
    );
  }

  #leave(call: WaitingCall<Ask>): void {
    if (call.hasLeft) return;
    call.hasLeft = true;
    if (!this.#calls.has(call)) {
      // Decided in the same moment: nobody will look at it.
      if (call.decision !== undefined) this.#giveBackDecision(call.decision);
      return;
    }
    this.#end(call, "left");
    call.place?.leave();
  }

  #end(call: WaitingCall<Ask>, outcome: "granted" | "refused" | "left"): void {
    this.#calls.delete(call);
    const seconds = this.#waitedMs(call) / 1_000;
    this.#telemetry.observe("call-waited", seconds, { priority: call.priority, outcome });
  }

  #giveBack(ask: Ask, outcome: GuardedOutcome): void {
    if (outcome.kind === "held") this.#releaseBy(this.#trial.release(ask, outcome.held));
  }

  #giveBackDecision(decision: Decision): void {
    if (decision.kind === "admitted") this.#releaseBy(decision.reservation.release());
  }

  #releaseBy(release: Promise<void>): void {
    release.catch((error: unknown) => {
      this.#telemetry.log("error", "a permit that nobody wanted could not be given back", {
        error: String(error),
      });
    });
  }
}
