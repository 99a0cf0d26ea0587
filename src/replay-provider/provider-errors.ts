import { type Answer, jsonAnswer } from "./answer.ts";
import type { WireFormat } from "./wire-format.ts";

/** What an error says instead of the provider's usual words. */
export interface ErrorDetails {
  readonly message?: string;
  readonly type?: string;
  readonly code?: string | null;
  /** Milliseconds; sent as `retry-after`, in whole seconds rounded up, and by OpenAI as `retry-after-ms`. */
  readonly retryAfterMs?: number;
}

interface KnownError {
  readonly type: string;
  readonly code: string | null;
  readonly message: string;
}

const OPENAI: Readonly<Record<number, KnownError>> = {
  400: { type: "invalid_request_error", code: null, message: "Invalid request." },
  401: {
    type: "invalid_request_error",
    code: null,
    message:
      "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys.",
  },
  403: {
    type: "invalid_request_error",
    code: "unsupported_country_region_territory",
    message: "Country, region, or territory not supported",
  },
  404: { type: "invalid_request_error", code: null, message: "Not found" },
  413: { type: "invalid_request_error", code: null, message: "Request entity too large" },
  429: {
    type: "requests",
    code: "rate_limit_exceeded",
    message:
      "Rate limit reached for requests. Visit https://platform.openai.com/account/rate-limits to learn more.",
  },
  500: {
    type: "server_error",
    code: null,
    message: "The server had an error while processing your request. Sorry about that!",
  },
  503: {
    type: "server_error",
    code: "service_unavailable",
    message: "The engine is currently overloaded, please try again later",
  },
};

/** Under the same 429 as a rate limit, but billing: a retry never helps. */
const OPENAI_QUOTA: KnownError = {
  type: "insufficient_quota",
  code: "insufficient_quota",
  message:
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
};

const ANTHROPIC: Readonly<Record<number, KnownError>> = {
  400: { type: "invalid_request_error", code: null, message: "Invalid request." },
  401: { type: "authentication_error", code: null, message: "x-api-key header is required" },
  403: { type: "permission_error", code: null, message: "Request not allowed" },
  404: { type: "not_found_error", code: null, message: "Not found" },
  413: { type: "request_too_large", code: null, message: "Request exceeds the maximum size" },
  429: {
    type: "rate_limit_error",
    code: null,
    message: "This request would exceed your account's rate limit. Please try again later.",
  },
  500: { type: "api_error", code: null, message: "Internal server error" },
  503: { type: "api_error", code: null, message: "Service unavailable" },
  529: { type: "overloaded_error", code: null, message: "Overloaded" },
};

/** These come from the edge in front of the provider, which speaks HTML. */
const EDGE_TITLES: Readonly<Record<number, string>> = { 502: "Bad gateway", 504: "Gateway time-out" };

/** An error as the provider words it. `details.code` `insufficient_quota` makes OpenAI's 429 the one that must not be retried. */
export function errorAnswer(format: WireFormat, status: number, details: ErrorDetails = {}): Answer {
  const title = EDGE_TITLES[status];
  if (title !== undefined) return edgeAnswer(status, title);
  const answer = jsonAnswer(errorBody(format, status, details), undefined, status);
  return { ...answer, headers: [...answer.headers, ...retryHeaders(format, details)] };
}

/** The parsed body of an error, as it also stands inside a stream. */
export function errorBody(format: WireFormat, status: number, details: ErrorDetails = {}): unknown {
  const known =
    format === "openai" && details.code === OPENAI_QUOTA.code ? OPENAI_QUOTA : knownError(format, status);
  const type = details.type ?? known.type;
  const message = details.message ?? known.message;
  if (format === "anthropic")
    return { type: "error", error: { type, message }, request_id: `req_${status}replay` };
  return { error: { message, type, param: null, code: details.code ?? known.code } };
}

function knownError(format: WireFormat, status: number): KnownError {
  const table = format === "anthropic" ? ANTHROPIC : OPENAI;
  return table[status] ?? (status < 500 ? table[400]! : table[500]!);
}

function retryHeaders(format: WireFormat, { retryAfterMs, code }: ErrorDetails): string[] {
  if (retryAfterMs === undefined || code === OPENAI_QUOTA.code) return [];
  const seconds = ["retry-after", String(Math.ceil(retryAfterMs / 1000))];
  return format === "openai" ? [...seconds, "retry-after-ms", String(Math.ceil(retryAfterMs))] : seconds;
}

function edgeAnswer(status: number, title: string): Answer {
  const html = `<html>\r\n<head><title>${status} ${title}</title></head>\r\n<body>\r\n<center><h1>${status} ${title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n`;
  return {
    status,
    headers: ["content-type", "text/html"],
    body: Buffer.from(html),
    stream: false,
    usage: { inputTokens: 0, outputTokens: 0 },
  };
}
