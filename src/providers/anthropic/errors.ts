import { FAILURE_STATUS, failureMessage } from "../../core/failure-answer.ts";
import type { OperationalError, OperationalErrorCode } from "../../core/operational-error.ts";
import type { HttpAnswer, ParsedCall, Refusal } from "../../ports/provider-format.ts";
import { isJsonObject } from "../http/body-json.ts";
import {
  jsonAnswer,
  readErrorBody,
  refusalRetryHeaders,
  retryAfterHeaders,
  UNREADABLE,
} from "../http/error-answer.ts";
import { serverSentEvent } from "../http/server-sent-event.ts";

const FAILURE_TYPE: Readonly<Record<OperationalErrorCode, string>> = {
  store_unavailable: "api_error",
  provider_unavailable: "api_error",
  invalid_key: "authentication_error",
  invalid_request: "invalid_request_error",
  body_too_large: "request_too_large",
  invalid_configuration: "api_error",
};

export function refusal(refused: Refusal, requestId: string): HttpAnswer {
  const headers = ["request-id", requestId, ...refusalRetryHeaders(refused)];
  return jsonAnswer(429, headers, errorBody("rate_limit_error", refused.message, refused.code, requestId));
}

/** The event with which the provider itself ends a stream, as with `overloaded_error`. */
export function inStreamError(_call: ParsedCall, body: Buffer): Buffer {
  const read = readErrorBody(body);
  const error =
    read?.type === "error" ? read : { type: "error", error: { type: "api_error", message: UNREADABLE } };
  return serverSentEvent("error", JSON.stringify(error));
}

export function failure(error: OperationalError, requestId: string): HttpAnswer {
  const headers = ["request-id", requestId, ...retryAfterHeaders(error.retryAfterMs)];
  const body = errorBody(FAILURE_TYPE[error.code], failureMessage(error), error.code, requestId);
  return jsonAnswer(FAILURE_STATUS[error.code], headers, body);
}

/** The code of an error object inside a stream: Anthropic's is its `type`. */
export function errorCodeOf(error: unknown): string {
  return isJsonObject(error) && typeof error.type === "string" && error.type !== "" ? error.type : "error";
}

function errorBody(type: string, message: string, code: string, requestId: string): unknown {
  return { type: "error", error: { type, message, code }, request_id: requestId };
}
