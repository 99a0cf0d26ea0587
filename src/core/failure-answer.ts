import type { OperationalError, OperationalErrorCode } from "./operational-error.ts";

/** The HTTP status of each failure: one table for all wire formats and for Sluice's own pages. */
export const FAILURE_STATUS: Readonly<Record<OperationalErrorCode, number>> = {
  store_unavailable: 503,
  provider_unavailable: 502,
  invalid_key: 401,
  invalid_request: 400,
  body_too_large: 413,
  invalid_configuration: 500,
};

/** What a client is told of a failure. What is wrong with the store or the configuration is for the log (X1). */
export function failureMessage(error: OperationalError): string {
  switch (error.code) {
    case "store_unavailable":
      return "The rate limits cannot be checked at the moment. Please try again.";
    case "invalid_configuration":
      return "The gateway is not configured for this call.";
    case "provider_unavailable":
    case "invalid_key":
    case "invalid_request":
    case "body_too_large":
      return error.message;
  }
}
