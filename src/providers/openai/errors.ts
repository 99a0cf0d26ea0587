import { FAILURE_STATUS, failureMessage } from "../../core/failure-answer.ts";
import type { OperationalError, OperationalErrorCode } from "../../core/operational-error.ts";
import type { HttpAnswer, ParsedCall, Refusal } from "../../ports/provider-format.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import {
  jsonAnswer,
  readErrorBody,
  refusalRetryHeaders,
  retryAfterHeaders,
  UNREADABLE,
} from "../http/error-answer.ts";
import { serverSentEvent } from "../http/server-sent-event.ts";

const FAILURE_TYPE: Readonly<Record<OperationalErrorCode, string>> = {
  store_unavailable: "server_error",
  provider_unavailable: "server_error",
  invalid_key: "invalid_request_error",
  invalid_request: "invalid_request_error",
  body_too_large: "invalid_request_error",
  invalid_configuration: "server_error",
};

export function refusal(refused: Refusal, requestId: string): HttpAnswer {
  const headers = ["x-request-id", requestId, ...refusalRetryHeaders(refused)];
  return jsonAnswer(429, headers, errorBody(refused.message, refusalType(refused), refused.code));
}

/** Chat completions end a failing stream with a chunk that is an error; the Responses API with an event `error`. */
export function inStreamError(call: ParsedCall, body: Buffer): Buffer {
  const error = errorOf(body);
  if (call.endpoint !== "responses") return serverSentEvent(undefined, JSON.stringify({ error }));
  const { message, code = null, param = null } = error;
  const event = { type: "error", code, message, param, sequence_number: 0 };
  return serverSentEvent("error", JSON.stringify(event));
}

function errorOf(body: Buffer): JsonObject {
  const error = readErrorBody(body)?.error;
  if (isJsonObject(error)) return error;
  return {
    message: UNREADABLE,
    type: FAILURE_TYPE.provider_unavailable,
    param: null,
    code: "provider_unavailable",
  };
}

export function failure(error: OperationalError, requestId: string): HttpAnswer {
  const headers = ["x-request-id", requestId, ...retryAfterHeaders(error.retryAfterMs)];
  const body = errorBody(failureMessage(error), FAILURE_TYPE[error.code], error.code);
  return jsonAnswer(FAILURE_STATUS[error.code], headers, body);
}

/** The code of an error object inside a stream: its `code`, or its `type` where it has none. */
export function errorCodeOf(error: unknown): string {
  if (!isJsonObject(error)) return "error";
  const { code, type } = error;
  if (typeof code === "string" && code !== "") return code;
  if (typeof code === "number") return String(code);
  return typeof type === "string" && type !== "" ? type : "error";
}

/** OpenAI's `type` of a 429 says what ran out: requests, tokens, or money. */
function refusalType(refused: Refusal): string {
  switch (refused.meter) {
    case "requests":
    case "concurrency":
      return "requests";
    case "tokens":
    case "input_tokens":
    case "output_tokens":
      return "tokens";
    case "cost":
      return "insufficient_quota";
  }
}

function errorBody(message: string, type: string, code: string): unknown {
  return { error: { message, type, param: null, code } };
}
