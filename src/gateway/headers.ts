import type { HeaderLimit, RawHeaders } from "../ports/provider-format.ts";

/** Of one connection, never passed on (RFC 9110, section 7.6.1). */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Said by the client to Sluice, not to the provider; or about the client's network, which is none of the provider's business. */
const CLIENT_ONLY = new Set([
  "authorization",
  "x-api-key",
  "api-key",
  "cookie",
  "host",
  "content-length",
  "expect",
  "prefer",
  "forwarded",
  "via",
  "x-real-ip",
  "openai-organization",
  "openai-project",
]);

const NOT_FOR_PROVIDERS: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...CLIENT_ONLY]);

/** Besides their fixed names: everything of ours, and everything a proxy in front adds. */
const isForProviders = (name: string) =>
  !NOT_FOR_PROVIDERS.has(name) && !name.startsWith("x-sluice-") && !name.startsWith("x-forwarded-");

/** Names in a `Connection` header, which belong to the connection as well. */
function connectionOptions(raw: readonly string[]): ReadonlySet<string> | undefined {
  let options: Set<string> | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i] !== "connection") continue;
    const value = raw[i + 1].toLowerCase();
    if (value === "keep-alive" || value === "close") continue;
    options ??= new Set();
    for (const option of value.split(",")) options.add(option.trim());
  }
  return options;
}

/**
 * The headers for the provider: the client's (names in lower case), less what is not for it, with the account's key.
 * `authorization` is empty where the
 * provider wants none; `identityHeaders` are the trusted ones (X2). `keepEncoding`: the answer is passed through unread, so the client may have it compressed.
 */
export function upstreamHeaders(
  raw: readonly string[],
  authorization: readonly string[],
  identityHeaders: ReadonlySet<string>,
  keepEncoding: boolean,
): RawHeaders {
  const headers: RawHeaders = [...authorization];
  const options = connectionOptions(raw);
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i];
    if (!isForProviders(name) || identityHeaders.has(name)) continue;
    if (options?.has(name) || (name === "accept-encoding" && !keepEncoding)) continue;
    headers.push(name, raw[i + 1]);
  }
  // Usage must be read and one chunk may have to go, which compressed bytes do not allow.
  if (!keepEncoding) headers.push("accept-encoding", "identity");
  return headers;
}

/**
 * The headers of the provider's answer that are for the client: not those of its connection, nor any in our name. `changesLength`: the body will not be as long as the
 * provider says.
 */
export function downstreamHeaders(
  raw: readonly string[],
  hides: (name: string) => boolean,
  changesLength: boolean,
): RawHeaders {
  const headers: RawHeaders = [];
  let options: ReadonlySet<string> | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const original = raw[i];
    const name = original.toLowerCase();
    if (name === "connection") options = connectionOptions([name, raw[i + 1]]) ?? options;
    if (HOP_BY_HOP.has(name) || name.startsWith("x-sluice-") || hides(name)) continue;
    if (changesLength && name === "content-length") continue;
    headers.push(original, raw[i + 1]);
  }
  return options === undefined ? headers : withoutNames(headers, options);
}

function withoutNames(raw: readonly string[], names: ReadonlySet<string>): RawHeaders {
  const headers: RawHeaders = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (!names.has(raw[i].toLowerCase())) headers.push(raw[i], raw[i + 1]);
  }
  return headers;
}

/** Structured-field strings hold printable ASCII only (RFC 9651); a limit may have any name. */
const fieldString = (name: string) => `"${name.replace(/[^ !#-[\]-~]/g, "_")}"`;

const SECOND_MS = 1_000;

/** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): `t` is when more comes, not when all is back. */
export function rateLimitHeaders(limits: readonly HeaderLimit[]): RawHeaders {
  if (limits.length === 0) return [];
  let policy = "";
  let state = "";
  for (let i = 0; i < limits.length; i++) {
    const { name, meter, limit, windowSeconds, reading } = limits[i];
    const item = fieldString(name);
    const unit = meter === "concurrency" ? ';qu="concurrent-requests"' : "";
    const window = windowSeconds === undefined ? "" : `;w=${windowSeconds}`;
    const separator = i === 0 ? "" : ", ";
    policy += `${separator}${item};q=${limit}${unit}${window}`;
    const more = reading.moreInMs > 0 ? `;t=${Math.ceil(reading.moreInMs / SECOND_MS)}` : "";
    state += `${separator}${item};r=${Math.max(0, reading.remaining)}${more}`;
  }
  return ["ratelimit-policy", policy, "ratelimit", state];
}
