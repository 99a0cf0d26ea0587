import type { Endpoint } from "../../ports/provider-format.ts";

/** What a call to the Anthropic API is, by method and path without query; before `/messages` may stand a host's own base path. */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") {
    if (path.endsWith("/messages")) return "messages";
    return path.endsWith("/messages/count_tokens") ? "count_tokens" : "other";
  }
  const isModels = method === "GET" && (path === "/v1/models" || path.startsWith("/v1/models/"));
  return isModels ? "models" : "other";
}
