import type { Endpoint } from "../../ports/provider-format.ts";

const POSTED: ReadonlyMap<string, Endpoint> = new Map([
  ["/v1/messages", "messages"],
  ["/v1/messages/count_tokens", "count_tokens"],
]);

/** What a call to the Anthropic API is, by method and path without query. */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") return POSTED.get(path) ?? "other";
  const isModels = method === "GET" && (path === "/v1/models" || path.startsWith("/v1/models/"));
  return isModels ? "models" : "other";
}
