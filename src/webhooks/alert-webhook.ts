import { usdOfNano } from "../core/price/usd.ts";
import type { AlertChannel, AlertDelivery, BudgetAlert } from "../ports/alert-channel.ts";
import type { Clock } from "../ports/clock.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { WebhookTarget } from "./post-webhook.ts";
import { WEBHOOK_BOUNDS, type WebhookBounds, WebhookSender } from "./webhook-sender.ts";

/** What a receiver gets, in the shape that Standard Webhooks recommend; amounts in the units of the configuration. */
export function alertBody(alert: BudgetAlert): string {
  const amount = (value: number) => (alert.meter === "cost" ? usdOfNano(value) : value);
  return JSON.stringify({
    type: "budget.share_reached",
    timestamp: new Date(alert.atMs).toISOString(),
    data: {
      name: alert.limitName,
      subject: alert.subject,
      meter: alert.meter,
      per: alert.per,
      share: alert.share,
      limit: amount(alert.limit),
      used: amount(alert.used),
      held: amount(alert.held),
      ...(alert.resetsAtMs === undefined ? {} : { resets_at: new Date(alert.resetsAtMs).toISOString() }),
      mode: alert.mode,
    },
  });
}

/** Alerts as signed webhooks. What is not delivered is counted, and said in the log without the URL, which may be a secret. */
export class AlertWebhook implements AlertChannel {
  readonly #sender: WebhookSender;
  readonly #telemetry: Telemetry;
  #target: WebhookTarget | undefined;

  constructor(
    target: WebhookTarget | undefined,
    telemetry: Telemetry,
    clock: Clock,
    bounds: WebhookBounds = WEBHOOK_BOUNDS,
  ) {
    this.#target = target;
    this.#telemetry = telemetry;
    this.#sender = new WebhookSender(clock, bounds);
  }

  /** From the next try on, also for alerts that are waiting. */
  useTarget(target: WebhookTarget | undefined): void {
    this.#target = target;
  }

  async send(alert: BudgetAlert): Promise<AlertDelivery> {
    if (this.#target === undefined) return "delivered";
    const outcome = await this.#sender.send({ id: alert.id, body: alertBody(alert) }, () => this.#target);
    switch (outcome.kind) {
      case "delivered":
        this.#telemetry.count("alert-delivered");
        return "delivered";
      case "failed":
        if (outcome.reason === "queue_full") return "full";
        this.#telemetry.count("alert-undelivered", { reason: outcome.reason });
        this.#telemetry.log("error", "an alert could not be delivered to the webhook", {
          alert: alert.id,
          limit: alert.limitName,
          share: alert.share,
          reason: outcome.reason,
          why: outcome.why,
        });
        return "failed";
      case "unfinished":
        return "unfinished";
    }
  }

  close(): Promise<void> {
    return this.#sender.close();
  }
}
