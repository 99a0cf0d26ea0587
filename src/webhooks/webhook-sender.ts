import type { Clock } from "../ports/clock.ts";
import type { PostOutcome, WebhookMessage, WebhookTarget } from "./post-webhook.ts";

/** Every bound of a sender. */
export interface WebhookBounds {
  /** Messages that have not been delivered, those under way included. */
  readonly messagesMax: number;
  readonly underWayMax: number;
  /** Of one try. */
  readonly timeoutMs: number;
  /** Before the second try; doubles with each. */
  readonly firstPauseMs: number;
  readonly pauseMsMax: number;
  /** From the first try to giving up. */
  readonly deadlineMs: number;
  /** For what is under way when the sender is closed. */
  readonly closeMs: number;
}

/** A few kB each; an endpoint that is away for some minutes, as during a deployment, misses nothing. */
export const WEBHOOK_BOUNDS: WebhookBounds = {
  messagesMax: 1_000,
  underWayMax: 8,
  timeoutMs: 10_000,
  firstPauseMs: 1_000,
  pauseMsMax: 60_000,
  deadlineMs: 15 * 60_000,
  closeMs: 3_000,
};

export type SendOutcome =
  | { readonly kind: "delivered" }
  | {
      readonly kind: "failed";
      readonly reason: "queue_full" | "gone" | "forbidden" | "deadline";
      readonly why: string;
    }
  /** The sender was closed first. */
  | { readonly kind: "unfinished" };

interface Waiting {
  readonly message: WebhookMessage;
  readonly target: () => WebhookTarget | undefined;
  readonly resolve: (outcome: SendOutcome) => void;
}

/**
 * Delivers messages in the background: some at a time, each again and again with growing pauses until it is taken, refused for good, or too late. A message is
 * delivered at least once where it is delivered at all: an answer may get lost.
 */
export class WebhookSender {
  readonly #bounds: WebhookBounds;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  /** Ends pauses, then tries. */
  readonly #closing = new AbortController();
  readonly #ended = new AbortController();
  readonly #work = new Set<Promise<void>>();

  constructor(clock: Clock, bounds: WebhookBounds = WEBHOOK_BOUNDS) {
    this.#clock = clock;
    this.#bounds = bounds;
  }

  /** `target` is asked for before every try, as a configuration may have changed; undefined: nobody wants it any more. Never rejects. */
  send(message: WebhookMessage, target: () => WebhookTarget | undefined): Promise<SendOutcome> {
    if (this.#closing.signal.aborted) return Promise.resolve({ kind: "unfinished" });
    const { messagesMax, underWayMax } = this.#bounds;
    if (this.#waiting.length + this.#work.size >= messagesMax) {
      return Promise.resolve({ kind: "failed", reason: "queue_full", why: `${messagesMax} are waiting` });
    }
    return new Promise((resolve) => {
      this.#waiting.push({ message, target, resolve });
      if (this.#work.size < underWayMax) this.#start();
    });
  }

  /** Waits a little for what is under way; every `send` has resolved when this does. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const { resolve } of this.#waiting.splice(0)) resolve({ kind: "unfinished" });
    const timer = setTimeout(() => this.#ended.abort(), this.#bounds.closeMs);
    await Promise.all(this.#work);
    clearTimeout(timer);
  }

  #start(): void {
    const work = this.#drain();
    this.#work.add(work);
    void work.finally(() => {
      this.#work.delete(work);
      // Whoever came since it looked last has counted on it.
      if (this.#waiting.length > 0) this.#start();
    });
  }

  async #drain(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      next.resolve(await this.#deliver(next));
    }
  }

  async #deliver({ message, target }: Waiting): Promise<SendOutcome> {
    const { timeoutMs, firstPauseMs, pauseMsMax, deadlineMs } = this.#bounds;
    const sinceMs = performance.now();
    for (let tries = 0; ; tries++) {
      const to = target();
      if (to === undefined) return { kind: "failed", reason: "gone", why: "no webhook is configured" };
      const outcome = await this.#try(to, message, timeoutMs);
      if (outcome.kind === "delivered") return outcome;
      if (outcome.kind === "gone") return { kind: "failed", reason: "gone", why: "status 410" };
      if (outcome.kind === "forbidden") return { kind: "failed", reason: "forbidden", why: outcome.why };
      // Receivers that fail together are not asked again together.
      const pauseMs = Math.min(pauseMsMax, firstPauseMs * 2 ** tries) * (0.5 + Math.random() / 2);
      if (this.#closing.signal.aborted) return { kind: "unfinished" };
      if (performance.now() + pauseMs - sinceMs > deadlineMs) {
        return { kind: "failed", reason: "deadline", why: outcome.why };
      }
      await this.#pause(pauseMs);
      if (this.#closing.signal.aborted) return { kind: "unfinished" };
    }
  }

  async #try(to: WebhookTarget, message: WebhookMessage, timeoutMs: number): Promise<PostOutcome> {
    try {
      // Loaded where it is used: a start need not wait for it.
      const { postWebhook } = await import("./post-webhook.ts");
      return await postWebhook(to, message, this.#clock.nowMs(), timeoutMs, this.#ended.signal);
    } catch (error) {
      return { kind: "failed", why: error instanceof Error ? error.name : "unknown" };
    }
  }

  /** Ends early when the sender is closed. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#closing.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms).unref();
      this.#closing.signal.addEventListener("abort", done, { once: true });
    });
  }
}
