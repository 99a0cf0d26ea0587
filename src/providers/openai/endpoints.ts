import type { Endpoint } from "../../ports/provider-format.ts";

const POSTED: ReadonlyMap<string, Endpoint> = new Map([
  ["/v1/chat/completions", "chat_completions"],
  ["/v1/responses", "responses"],
  ["/v1/embeddings", "embeddings"],
  ["/v1/completions", "completions"],
]);

/** What a call to the OpenAI API is, by method and path without query. */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") return POSTED.get(path) ?? "other";
  const isModels = method === "GET" && (path === "/v1/models" || path.startsWith("/v1/models/"));
  return isModels ? "models" : "other";
}
