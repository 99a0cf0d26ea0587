import type { IncomingMessage } from "node:http";
import type { Delivery, DeliveryEnd } from "./deliver.ts";

/** What became of a request. */
export type Outcome =
  | { readonly kind: "recorded"; readonly id: string }
  | { readonly kind: "synthesised" }
  | { readonly kind: "rate-limited" }
  | { readonly kind: "unauthorized" }
  /** A switch failed it, broke it or kept it waiting. */
  | { readonly kind: "injected" }
  /** No valid request for this provider. */
  | { readonly kind: "rejected" };

export interface LoggedRequest {
  readonly method: string;
  readonly url: string;
  /** Flat (name, value, name, value, …), as they were received. */
  readonly headers: readonly string[];
  readonly body: Buffer;
  readonly receivedAtMs: number;
  /** Absent until it is decided. */
  outcome: Outcome | undefined;
  status: number | undefined;
  /** What has been sent of the answer's body up to now. */
  readonly sent: Delivery;
  /** Absent until it has. */
  end: DeliveryEnd | undefined;
}

export interface ReplayStats {
  /** Those to `/replay/…` are not counted, here and below. */
  readonly requests: number;
  readonly recorded: number;
  readonly synthesised: number;
  /** 429s because of the enforced limits: what a good gateway keeps at 0. */
  readonly rateLimited: number;
  readonly unauthorized: number;
  /** Failed, broken or kept waiting by a switch. */
  readonly injected: number;
  readonly rejected: number;
  /** Answers that the client did not stay for. */
  readonly closedByClient: number;
  readonly open: number;
  readonly openMax: number;
  /** What the answers used that were given: the truth that a gateway's books are compared with. Cut ones count in full. */
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Keeps the last requests and counts all. */
export class RequestLog {
  readonly requests: LoggedRequest[] = [];
  readonly #keptMax: number;
  readonly #counts = {
    requests: 0,
    recorded: 0,
    synthesised: 0,
    rateLimited: 0,
    unauthorized: 0,
    injected: 0,
    rejected: 0,
    closedByClient: 0,
    open: 0,
    openMax: 0,
    inputTokens: 0,
    outputTokens: 0,
  };

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  get stats(): ReplayStats {
    return { ...this.#counts };
  }

  add(request: IncomingMessage, body: Buffer): LoggedRequest {
    const logged: LoggedRequest = {
      method: request.method ?? "",
      url: request.url ?? "",
      headers: request.rawHeaders,
      body,
      receivedAtMs: Date.now(),
      outcome: undefined,
      status: undefined,
      sent: { bytes: 0, chunks: 0 },
      end: undefined,
    };
    const counts = this.#counts;
    counts.requests += 1;
    counts.open += 1;
    counts.openMax = Math.max(counts.openMax, counts.open);
    if (this.#keptMax > 0) this.requests.push(logged);
    // Twice the size before half of it goes, so that a full log costs no more than an empty one.
    if (this.requests.length > 2 * this.#keptMax)
      this.requests.splice(0, this.requests.length - this.#keptMax);
    return logged;
  }

  decided(
    logged: LoggedRequest,
    outcome: Outcome,
    usage?: { inputTokens: number; outputTokens: number },
  ): void {
    logged.outcome = outcome;
    const { kind } = outcome;
    this.#counts[kind === "rate-limited" ? "rateLimited" : kind] += 1;
    this.#counts.inputTokens += usage?.inputTokens ?? 0;
    this.#counts.outputTokens += usage?.outputTokens ?? 0;
  }

  ended(logged: LoggedRequest, end: DeliveryEnd): void {
    logged.end = end;
    this.#counts.open -= 1;
    if (end === "closed") this.#counts.closedByClient += 1;
  }
}
