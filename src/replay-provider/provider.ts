import type { IncomingHttpHeaders } from "node:http";
import type { RawHeaders } from "../ports/provider-format.ts";
import type { Answer } from "./answer.ts";
import type { EnforcedLimits } from "./enforced-limits.ts";
import { errorAnswer } from "./provider-errors.ts";
import { recordedAnswer } from "./recorded-answer.ts";
import { isObject } from "./recording.ts";
import type { RecordingIndex } from "./recording-index.ts";
import type { Outcome } from "./request-log.ts";
import type { Switches } from "./switches.ts";
import { synthesise } from "./synthesise.ts";
import { Seed } from "./synthetic-text.ts";
import { accountKeyOf, endpointOf, type WireFormat } from "./wire-format.ts";

export interface ProviderRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly format: WireFormat;
  readonly switches: Switches;
  /** Whether this call is one of the next so many that fail; counts it down. */
  takeFailNext(): boolean;
}

export interface Decision {
  readonly outcome: Outcome;
  readonly answer: Answer;
}

/** For `retry-after` where nothing says how long. */
const RETRY_AFTER_MS = 1000;

/** Decides what a request is answered with. No sockets. */
export class Provider {
  limits: EnforcedLimits;
  readonly #index: RecordingIndex;
  #random = new Seed("1");
  #randomSeed = 1;
  #answers = 0;

  constructor(index: RecordingIndex, limits: EnforcedLimits) {
    this.#index = index;
    this.limits = limits;
  }

  decide(request: ProviderRequest): Decision {
    const { format } = request;
    const key = accountKeyOf(request.headers);
    if (key === undefined) return { outcome: { kind: "unauthorized" }, answer: errorAnswer(format, 401) };
    if (this.#fails(request)) return { outcome: { kind: "injected" }, answer: injectedError(request) };
    const body = parsedBody(request.body);
    const { answer, outcome } = this.#find(request, body);
    const identified = withHeaders(answer, this.#identity(answer, format));
    if (this.limits.isEmpty) return { outcome, answer: identified };
    const admission = this.limits.admit({ key, format, model: modelOf(body), body, usage: answer.usage });
    if (admission.kind === "refused")
      return {
        outcome: { kind: "rate-limited" },
        answer: withHeaders(admission.answer, this.#identity(admission.answer, format)),
      };
    return { outcome, answer: withHeaders(withoutLimitHeaders(identified), admission.headers) };
  }

  #fails({ switches, takeFailNext }: ProviderRequest): boolean {
    const { failRate, failNext, failStatus, seed = 1 } = switches;
    if (failNext !== undefined) return takeFailNext();
    if (failRate === undefined) return failStatus !== undefined;
    if (seed !== this.#randomSeed) {
      this.#random = new Seed(seed.toString(16));
      this.#randomSeed = seed;
    }
    // In millionths: fine enough for any share that a test can tell apart.
    return this.#random.below(1_000_000) < failRate * 1_000_000;
  }

  #find({ method, path, headers, format, switches }: ProviderRequest, body: unknown): Decision {
    const id = headers["x-replay-id"];
    const endpoint = endpointOf(method, path);
    if (typeof id === "string") {
      const named = this.#index.byId(id);
      if (named !== undefined)
        return { outcome: { kind: "recorded", id }, answer: recordedAnswer(named, endpoint, body) };
      const message = `there is no recording ${id}`;
      return { outcome: { kind: "rejected" }, answer: errorAnswer(format, 404, { message }) };
    }
    const found = this.#index.byRequest(method, path, body);
    if (found !== undefined)
      return {
        outcome: { kind: "recorded", id: found.id },
        answer: recordedAnswer(found, endpoint, body),
      };
    const { outputTokens } = switches;
    const answer = synthesise({ method, path, format, endpoint, body, outputTokens });
    return { outcome: { kind: answer.status < 400 ? "synthesised" : "rejected" }, answer };
  }

  /** A request id where the recording has none. */
  #identity(answer: Answer, format: WireFormat): RawHeaders {
    const name = format === "openai" ? "x-request-id" : "request-id";
    if (answer.headers.some((header, index) => index % 2 === 0 && header.toLowerCase() === name)) return [];
    this.#answers += 1;
    return [name, `req_replay${this.#answers}`];
  }
}

function injectedError({ format, switches }: ProviderRequest): Answer {
  const { failStatus = 500, failCode, retryAfterMs } = switches;
  const wait = retryAfterMs ?? (failStatus === 429 ? RETRY_AFTER_MS : undefined);
  return errorAnswer(format, failStatus, {
    ...(failCode === undefined ? {} : { code: failCode }),
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}

function parsedBody(body: Buffer): unknown {
  const text = body.toString();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

const modelOf = (body: unknown) =>
  isObject(body) && typeof body.model === "string" ? body.model : "unknown";

const withHeaders = (answer: Answer, headers: RawHeaders): Answer => ({
  ...answer,
  headers: [...answer.headers, ...headers],
});

/** What was recorded of limits is not true here. */
function withoutLimitHeaders(answer: Answer): Answer {
  const headers: string[] = [];
  for (let index = 0; index < answer.headers.length; index += 2) {
    const name = answer.headers[index]!;
    if (!/^(x-ratelimit|anthropic-ratelimit)-/i.test(name)) headers.push(name, answer.headers[index + 1]!);
  }
  return { ...answer, headers };
}
