/** What can go wrong without anybody having made a mistake in the code. Closed: one table per wire format maps each to its HTTP answer. */
export type OperationalErrorCode =
  | "store_unavailable"
  | "provider_unavailable"
  | "invalid_key"
  | "invalid_request"
  | "body_too_large"
  | "invalid_configuration";

/** A failure with a code. A denial is never one: it is a value. */
export class OperationalError extends Error {
  readonly code: OperationalErrorCode;
  /** When trying again makes sense, in milliseconds; absent where it makes none. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: OperationalErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "OperationalError";
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}
