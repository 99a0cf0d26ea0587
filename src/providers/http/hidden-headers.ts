/**
 * Headers of every provider that must not reach a client:
 * - `set-cookie`: the cookies of the provider's network (`__cf_bm`) belong to the account's connection, one for all clients;
 * - `alt-svc`, `strict-transport-security`, `report-to`, `nel`: they speak for the provider's origin, and the client would take them for the gateway's;
 * - `ratelimit*`: limits of the account; the gateway says the caller's.
 *
 * Request ids, `retry-after`, `x-should-retry` and processing times stay: SDKs and support need them.
 */
const HIDDEN: ReadonlySet<string> = new Set([
  "set-cookie",
  "alt-svc",
  "strict-transport-security",
  "report-to",
  "nel",
  "ratelimit",
  "ratelimit-policy",
]);
const HIDDEN_PREFIXES: readonly string[] = ["x-ratelimit-", "ratelimit-"];

/** Whether a header (lower case) must be hidden whatever the wire format is. */
export function hidesOriginHeader(name: string): boolean {
  return HIDDEN.has(name) || HIDDEN_PREFIXES.some((prefix) => name.startsWith(prefix));
}
