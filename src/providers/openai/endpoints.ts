import type { Endpoint } from "../../ports/provider-format.ts";

const POSTED: readonly (readonly [suffix: string, endpoint: Endpoint])[] = [
  ["/chat/completions", "chat_completions"],
  ["/responses", "responses"],
  ["/embeddings", "embeddings"],
  ["/completions", "completions"],
];

/**
 * What a call to the OpenAI API is, by method and path without query. Hosts have the same calls under paths of their own, and some under several
 * (`/chat/completions`, `/beta/chat/completions`): the end of the path says which it is. Azure's deployments name the model in the path and not in the body:
 * they pass through unread.
 */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST" && path.includes("/deployments/")) return "other";
  if (method === "POST") return POSTED.find(([suffix]) => path.endsWith(suffix))?.[1] ?? "other";
  const isModels = method === "GET" && (path === "/v1/models" || path.startsWith("/v1/models/"));
  return isModels ? "models" : "other";
}
