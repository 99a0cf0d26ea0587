import type { Estimate, Usage } from "../core/estimate/usage.ts";
import type { LimitReading, Meter } from "../core/limits/limit-spec.ts";
import type { OperationalError } from "../core/operational-error.ts";
import type { Endpoint } from "../core/policy/endpoint.ts";

export type { Endpoint } from "../core/policy/endpoint.ts";

/** Header names are lower case; flat (name, value, name, value, …) as `node:http` takes and gives them. */
export type RawHeaders = string[];

/** What Sluice needs to know of a request body; the body itself stays as it is. */
export interface ParsedCall {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly stream: boolean;
  readonly estimate: Estimate;
  /** The body to send: the client's own bytes, apart from the splice of `include_usage` where the stream lacks it. */
  readonly upstreamBody: Buffer;
  /** Whether that splice was made, so that the extra chunk must be taken out of the answer again. */
  readonly usageSpliced: boolean;
  /** The provider works on when the answer has ended or the client has gone, and what that uses is not seen (`background` responses). */
  readonly runsOn?: boolean;
}

/** Where a usage comes from. */
export type MeteredUsage =
  /** The provider's own numbers. */
  | { readonly kind: "reported"; readonly usage: Usage }
  /** The answer was cut or carried no usage: what was seen of it, counted. Input is what the provider said, or the estimate. */
  | { readonly kind: "counted"; readonly usage: Usage }
  /** Nothing to count: an error answer, or one without model tokens. */
  | { readonly kind: "none" };

/** Watches one answer go by. One object a call; never throws, whatever the bytes are; bounded memory (S3). */
export interface UsageMeter {
  /**
   * Takes the next bytes from the provider and returns those for the client: the same buffer in all but the last chunks of a spliced stream.
   * May return an empty buffer when all of it is held back (only ever the start of the extra usage chunk).
   */
  push(chunk: Buffer): Buffer;
  /** The provider has finished: bytes still held back (usually none). */
  finish(): Buffer;
  /** What was used, from what has been seen so far. `finish` need not have been called: that is a cut stream (S2). */
  metered(): MeteredUsage;
  /** Whether the model has written all of its answer, and the provider has yet to say what it used. */
  isEnding(): boolean;
  /** The code of an error that came inside a stream after its 200 (`overloaded_error`), if one came (S4). */
  inStreamError(): string | undefined;
  /** What the model has written so far, estimated in model tokens; 0 for answers that are no streams. */
  emittedTokens(): number;
  /** What the provider has said of the whole input so far; undefined where it says so at the end only. */
  inputTokens(): number | undefined;
}

/** A limit with how it stands for the caller, for headers. */
export interface HeaderLimit {
  readonly name: string;
  readonly meter: Meter;
  readonly limit: number;
  /** Length of the window in seconds, for `RateLimit-Policy`; absent for concurrency. */
  readonly windowSeconds: number | undefined;
  readonly reading: LimitReading;
}

/** Codes of refusals, each of which is a 429. Clients may go by them: they stay as they are. */
export type RefusalCode =
  | "rate_limit_exceeded"
  | "queue_full"
  | "queue_timeout"
  | "budget_exceeded"
  | "request_too_large_for_limit";

export interface Refusal {
  readonly code: RefusalCode;
  /** Says which limit, how much was asked, how much is left, when it would fit. */
  readonly message: string;
  /** Absent where trying again makes no sense: then `x-should-retry: false` is sent. */
  readonly retryAfterMs: number | undefined;
  readonly meter: Meter;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly body: Buffer;
}

/** One wire format. Pure: no sockets, no clock; the time is an argument. */
export interface ProviderFormat {
  readonly name: "openai" | "anthropic";
  /** By method and path (without query). */
  endpointOf(method: string, path: string): Endpoint;
  /**
   * Reads a request body; that of an endpoint without model tokens may be anything and is left alone.
   * Throws `OperationalError` `invalid_request` for what the provider would answer with 400: bad JSON, no object, no model, bad `max_tokens`, too deep.
   */
  parseCall(endpoint: Endpoint, body: Buffer): ParsedCall;
  /** The same call for another model: what a model's alias stands for. Only the model's bytes change. */
  withModel(call: ParsedCall, model: string): ParsedCall;
  /** The header that carries an account's key. */
  authHeader(accountKey: string): readonly [name: string, value: string];
  /** `contentType` and `status` are the answer's. */
  meter(call: ParsedCall, status: number, contentType: string): UsageMeter;
  /** The caller's limits as the provider's own rate-limit headers; the tightest where several share a meter. */
  limitHeaders(limits: readonly HeaderLimit[], nowMs: number): RawHeaders;
  /** Whether a header of the provider's answer is about the provider's limits or identity and must not reach the client. */
  hidesHeader(name: string): boolean;
  refusal(refusal: Refusal, requestId: string): HttpAnswer;
  /**
   * An error inside a stream whose status is sent already: the event with which the provider itself ends a stream that fails. `body` is that of an error
   * answer, ours or the provider's; one that cannot be read becomes a failure of the provider.
   */
  inStreamError(call: ParsedCall, body: Buffer): Buffer;
  failure(error: OperationalError, requestId: string): HttpAnswer;
}
