import { type GroupSnapshot, InputCalibration } from "../core/estimate/input-calibration.ts";
import { OutputCalibration, type OutputGroup } from "../core/estimate/output-quantile.ts";
import { type OutputSnapshot, parseOutputSnapshot } from "../core/estimate/output-snapshot.ts";
import type { RunningOutput } from "../core/estimate/running-output.ts";
import type { Usage } from "../core/estimate/usage.ts";
import { WritingSpeed } from "../core/estimate/writing-speed.ts";
import { type Listed, OpenList } from "../core/open-list.ts";
import type { CallTarget } from "../core/policy/call-target.ts";
import type { CallSize } from "../core/policy/charges.ts";
import { tokenUseOf } from "../core/policy/endpoint.ts";
import type { Caller } from "../core/policy/policy.ts";
import type { Telemetry } from "../ports/telemetry.ts";

/** A call of which the size is wanted. */
export interface EstimatedCall {
  readonly caller: Caller;
  readonly target: CallTarget;
  /** As the provider's format has estimated it. */
  readonly size: CallSize;
  /** Whether its answer is seen as it is written. */
  readonly isStreamed?: boolean;
}

/** A call that was sent, and has not ended. To be handed back to the `CallEstimates` that it comes from. */
export class RunningAnswer implements Listed {
  readonly output: RunningOutput;
  /** On the clock of `CallEstimates`. */
  readonly sinceMs: number;
  place = -1;

  constructor(output: RunningOutput, sinceMs: number) {
    this.output = output;
    this.sinceMs = sinceMs;
  }
}

/** What one engine has learned, in plain JSON. */
export interface EstimatesSnapshot {
  readonly input: readonly GroupSnapshot[];
  readonly output: OutputSnapshot;
}

/** How often one thinks of the answers of which nothing is seen: each look goes over all of them. */
const LOOK_MS = 1_000;
const SECOND_MS = 1_000;
/** So many calls between two looks at whether anything has drifted: the look goes over all groups. */
const DRIFT_CHECK_CALLS = 200;

/** The provider of an account, `PROVIDER/ACCOUNT`. */
const providerOf = ({ account }: CallTarget): string => account?.slice(0, account.indexOf("/")) ?? "";

const outputGroupOf = ({ caller, target, size }: EstimatedCall): OutputGroup => ({
  provider: providerOf(target),
  model: target.model,
  feature: caller.feature,
  plan: caller.plan,
  effort: size.effort,
});

/**
 * What calls of a kind really use, learned from every settled one: corrects the estimate of the input (E1), and expects as much output as covers most calls
 * of the kind (E2). One an engine, in this process's memory; what it has learned can be told to others, and theirs to it.
 */
export class CallEstimates {
  readonly #input = new InputCalibration();
  readonly #output = new OutputCalibration();
  readonly #speed = new WritingSpeed();
  readonly #unseen = new OpenList<RunningAnswer>();
  readonly #telemetry: Telemetry;
  readonly #steadyMs: () => number;
  #lookedMs = 0;
  #learned = 0;

  /** `steadyMs`: milliseconds from anywhere on, of a clock that does not leap. */
  constructor(telemetry: Telemetry, steadyMs = (): number => performance.now()) {
    this.#telemetry = telemetry;
    this.#steadyMs = steadyMs;
    this.#lookedMs = steadyMs();
  }

  /** The size to hold. As it was given while nothing is known, and where no model tokens are used. */
  sizeOf(call: EstimatedCall): CallSize {
    const { caller, target, size } = call;
    const use = tokenUseOf(target.endpoint);
    if (use === "none") return size;
    const { model } = target;
    const { feature } = caller;
    const provider = providerOf(target);
    const { inputShape, outputTokensMax, answers, serviceTier } = size;
    const inputTokens = Math.round(
      this.#input.correct({ provider, model, shape: inputShape, feature }, size.inputTokens),
    );
    const rest = {
      outputTokensMax,
      inputTokensRead: size.inputTokens,
      ...(serviceTier === undefined ? undefined : { serviceTier }),
    };
    if (use === "input") return { inputTokens, ...rest };
    this.#thinkOfUnseen();
    const group = outputGroupOf(call);
    const outputTokensExpected = this.#output.expect(group, {
      inputTokens,
      outputTokensMax,
      answers: answers ?? 1,
    });
    return { inputTokens, outputTokensExpected, isOutputBorrowed: this.#output.isBorrowed(group), ...rest };
  }

  /** A call is sent. `held` is what `sizeOf` gave for it. Ends with exactly one of `learn` and `dropped`. */
  begin(call: EstimatedCall, held: CallSize): RunningAnswer {
    const { inputTokens, outputTokensMax, outputTokensExpected } = held;
    const output = this.#output.begin(
      outputGroupOf(call),
      { inputTokens, outputTokensMax, answers: call.size.answers ?? 1 },
      outputTokensExpected,
    );
    const running = new RunningAnswer(output, this.#steadyMs());
    const isWritten = tokenUseOf(call.target.endpoint) === "input_and_output";
    if (isWritten && !call.isStreamed) this.#unseen.add(running);
    return running;
  }

  /** A call that is still running has so much output, see `OutputCalibration.emitted`. Nearly always costs a comparison. */
  emitted({ output }: RunningAnswer, emittedTokens: number): void {
    if (output.isNews(emittedTokens)) this.#output.emitted(output, emittedTokens);
  }

  /** A call was not sent, failed, or ended without the provider's word on what it used. */
  dropped(running: RunningAnswer): void {
    this.#unseen.remove(running);
    this.#output.dropped(running.output);
  }

  /** A call has ended whole, and the provider has said what it used. */
  learn({ caller, target, size }: EstimatedCall, running: RunningAnswer, usage: Usage): void {
    this.#unseen.remove(running);
    const use = tokenUseOf(target.endpoint);
    if (use === "none") return;
    const { model } = target;
    const provider = providerOf(target);
    const input = { provider, model, shape: size.inputShape, feature: caller.feature };
    // What was run apart has read the body in place of the answer, or beside it: neither says how long the body is.
    const isPlain = usage.apart === undefined;
    const isBelieved = isPlain && this.#input.learn(input, size.inputTokens, usage.inputTokens) === "learned";
    if (isPlain && !isBelieved) this.#telemetry.count("usage-implausible");
    if (use === "input_and_output") {
      const { inputTokens, outputTokens } = usage;
      // No call has no input: who says so has not counted the output either.
      if (inputTokens === 0) this.#output.dropped(running.output);
      else {
        this.#output.ended(running.output, {
          inputTokens: isBelieved ? inputTokens : undefined,
          outputTokens,
        });
        this.#speed.learn(provider, model, outputTokens / (size.answers ?? 1), this.#secondsOf(running));
      }
    }
    this.#learned += 1;
    if (this.#learned % DRIFT_CHECK_CALLS === 0) this.#tellDrift();
  }

  #secondsOf({ sinceMs }: RunningAnswer): number {
    return (this.#steadyMs() - sinceMs) / SECOND_MS;
  }

  /** The long answers end last: until then they count for what others are held by how far they should have come. */
  #thinkOfUnseen(): void {
    const nowMs = this.#steadyMs();
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    for (const running of this.#unseen.all()) {
      const { output } = running;
      const { provider, model } = output.group;
      const { answers, outputTokensMax = Number.POSITIVE_INFINITY } = output.call;
      const each = this.#speed.writtenAfter(provider, model, this.#secondsOf(running));
      const written = Math.min(outputTokensMax, each * answers);
      if (output.isNews(written)) this.#output.presumed(output, written);
    }
  }

  /** How many answers run of which nothing is seen. */
  get unseen(): number {
    return this.#unseen.size;
  }

  /** How many calls it has learned from. */
  get learned(): number {
    return this.#learned;
  }

  /** What it has learned itself. */
  snapshot(): EstimatesSnapshot {
    return { input: this.#input.snapshot(), output: this.#output.snapshot() };
  }

  /** Takes what another instance, or this gateway before a restart, has learned, in place of what that told before. What is not understood is left out. */
  absorb(instance: string, snapshot: unknown): void {
    if (typeof snapshot !== "object" || snapshot === null) return;
    const { input, output } = snapshot as Partial<Record<keyof EstimatesSnapshot, unknown>>;
    if (Array.isArray(input)) this.#input.absorb(instance, input);
    const outputs = parseOutputSnapshot(output);
    if (outputs !== undefined) this.#output.absorb(instance, outputs);
  }

  /** An alarm where estimates have come to be wrong by more than a tenth: a tokenizer, a price list or a prompt has changed (E7). */
  #tellDrift(): void {
    for (const { provider, model, shape, before, now } of this.#input.drift()) {
      this.#telemetry.count("calibration-drifted", { provider });
      this.#telemetry.log("warn", "the input estimates of a model have drifted", {
        provider,
        model,
        shape,
        before,
        now,
      });
    }
  }
}
