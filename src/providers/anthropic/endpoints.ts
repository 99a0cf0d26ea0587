import type { Endpoint } from "../../ports/provider-format.ts";

/** OpenAI's messages of a thread end in the same word, and some hosts speak both formats on one origin. */
const THREAD_MESSAGES = /\/threads\/[^/]+\/messages$/;

/** What a call to the Anthropic API is, by method and path without query; before `/messages` may stand a host's own base path. */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") {
    if (path.endsWith("/messages")) return THREAD_MESSAGES.test(path) ? "other" : "messages";
    return path.endsWith("/messages/count_tokens") ? "count_tokens" : "other";
  }
  const isModels = method === "GET" && (path === "/v1/models" || path.startsWith("/v1/models/"));
  return isModels ? "models" : "other";
}
