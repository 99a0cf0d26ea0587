import type { Usage } from "../core/estimate/usage.ts";
import type { CallCharges } from "../core/policy/charges.ts";
import { tokenUseOf } from "../core/policy/endpoint.ts";
import { ModelLabels } from "../core/policy/model-labels.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { EstimatedCall } from "./call-estimates.ts";

/** Shows how good estimates are, by model: of every whole answer whose provider says what it used (E1, E2, E3). */
export class HoldMetrics {
  readonly #telemetry: Telemetry;
  readonly #labels: ModelLabels;

  constructor(telemetry: Telemetry, models: ReadonlySet<string>) {
    this.#telemetry = telemetry;
    this.#labels = new ModelLabels(models);
  }

  /** From now on these have names of their own. */
  useModels(models: ReadonlySet<string>): void {
    this.#labels.useConfigured(models);
  }

  /** `charges` as admitted: what was held before the answer began, without what it grew by. */
  settled(
    { target }: EstimatedCall,
    { inputTokens, outputTokensHeld }: CallCharges,
    { inputTokens: inputUsed, outputTokens: outputUsed }: Usage,
  ): void {
    const use = tokenUseOf(target.endpoint);
    const used = inputUsed + outputUsed;
    if (use === "none" || used === 0) return;
    const model = this.#labels.labelOf(target.model);
    const held = inputTokens + outputTokensHeld;
    const telemetry = this.#telemetry;
    if (inputUsed > 0) telemetry.observe("estimate-ratio", inputTokens / inputUsed, { kind: "input", model });
    if (outputUsed > 0) {
      telemetry.observe("estimate-ratio", outputTokensHeld / outputUsed, { kind: "output", model });
    }
    telemetry.count("hold-settled", { model, covered: held >= used ? "yes" : "no" });
    telemetry.count("tokens-held", { model }, held);
    telemetry.count("tokens-used", { model }, used);
  }
}
