import type { IncomingHttpHeaders } from "node:http";
import type { Endpoint, ProviderFormat } from "../ports/provider-format.ts";

export type WireFormat = ProviderFormat["name"];

const ENDPOINTS: readonly (readonly [suffix: string, endpoint: Endpoint])[] = [
  ["/chat/completions", "chat_completions"],
  ["/responses", "responses"],
  ["/embeddings", "embeddings"],
  ["/completions", "completions"],
  ["/messages", "messages"],
  ["/messages/count_tokens", "count_tokens"],
];

/** What kind of call a path is; any base path may stand before it. `path` may have a query. */
export function endpointOf(method: string, path: string): Endpoint {
  const bare = path.split("?")[0]!;
  if (method === "GET") return /\/models(\/[^/]+)?$/.test(bare) ? "models" : "other";
  if (method !== "POST" || /\/threads\//.test(bare)) return "other";
  return ENDPOINTS.find(([suffix]) => bare.endsWith(suffix))?.[1] ?? "other";
}

/** Whose shapes an answer has. Paths that both providers have are told apart by Anthropic's own headers. */
export function wireFormatOf(path: string, headers: IncomingHttpHeaders): WireFormat {
  const bare = path.split("?")[0]!;
  if (
    /\/(messages|messages\/count_tokens|messages\/batches.*|complete)$/.test(bare) &&
    !/\/threads\//.test(bare)
  )
    return "anthropic";
  const isAnthropics =
    headers["anthropic-version"] !== undefined ||
    (headers["x-api-key"] !== undefined && headers.authorization === undefined);
  return isAnthropics ? "anthropic" : "openai";
}

/** The credential of a request, wherever OpenAI, Azure or Anthropic look for it; undefined when there is none. */
export function accountKeyOf(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")?.[1];
  const key = bearer ?? headers["x-api-key"] ?? headers["api-key"];
  return typeof key === "string" && key !== "" ? key : undefined;
}
