import type { Usage } from "../core/estimate/usage.ts";
import type { CallTarget } from "../core/policy/call-target.ts";
import { unreadPathLabel } from "../core/policy/unread-path.ts";
import { isAudioAsText, type ModelPrice } from "../core/price/model-price.ts";
import { isSpecialTier, knowsTier, SERVICE_TIERS } from "../core/price/service-tier.ts";
import type { Telemetry } from "../ports/telemetry.ts";

/** What is named in the log: names come from callers and providers (X5). Later ones are only counted. */
const NAMED_MAX = 200;

/**
 * Says of money that limits on cost do not see, or see as less or more than it is: each time in the metrics, once in the log. A budget is only worth what it
 * counts (E6).
 */
export class UncountedCost {
  readonly #telemetry: Telemetry;
  readonly #named = new Set<string>();

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  /** A call has been served; `price` is absent where no limit counts money. */
  served(target: CallTarget, price: ModelPrice | undefined, usage: Usage): void {
    if (price === undefined) return;
    const { serviceTier } = usage;
    if (isSpecialTier(serviceTier) && !knowsTier(price, serviceTier)) this.#tier(target, serviceTier);
    const audio =
      (usage.audioInputTokens ?? 0) + (usage.audioInputApartTokens ?? 0) + (usage.audioOutputTokens ?? 0);
    if (audio > 0 && isAudioAsText(price)) this.#audio(target);
  }

  #audio({ account, model }: CallTarget): void {
    this.#telemetry.count("audio-unpriced");
    this.#once(`${account} ${model} audio`, () =>
      this.#telemetry.log(
        "warn",
        "a model has no price for audio: it is counted as text; `prices` can say what it costs",
        { account, model: model.slice(0, 256) },
      ),
    );
  }

  #tier({ account, model }: CallTarget, serviceTier: string): void {
    const tier = SERVICE_TIERS.find((known) => known === serviceTier) ?? "other";
    this.#telemetry.count("tier-unpriced", { tier });
    this.#once(`${account} ${model} ${serviceTier}`, () =>
      this.#telemetry.log(
        "warn",
        "a service tier has no known price: its calls are counted at the usual one; `service_tiers` can say what it costs",
        { account, model: model.slice(0, 256), tier: serviceTier },
      ),
    );
  }

  /** A call is passed on unread though limits count model tokens or money. `path` is the provider's. */
  unread(account: string | undefined, path: string): void {
    const label = unreadPathLabel(path);
    if (label === undefined) return;
    this.#telemetry.count("call-unread", { path: label });
    this.#once(`${account} ${label}`, () =>
      this.#telemetry.log(
        "warn",
        "a call is passed on unread: limits on model tokens and cost do not count what it uses",
        { account, path: label },
      ),
    );
  }

  /** An answer is compressed, though identity was asked for. */
  unreadable(account: string, encoding: string): void {
    this.#once(`${account} unreadable`, () =>
      this.#telemetry.log(
        "warn",
        "a provider compresses its answers though it is asked not to: what they use cannot be read, and calls are charged what is held for them, or their own maximum",
        { account, encoding: encoding.slice(0, 32) },
      ),
    );
  }

  #once(name: string, say: () => void): void {
    if (this.#named.has(name) || this.#named.size >= NAMED_MAX) return;
    this.#named.add(name);
    say();
  }
}
