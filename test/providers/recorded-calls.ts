import type { ParsedCall, ProviderFormat } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import { allRecordedRows } from "../support/recordings.ts";

const PATHS: Readonly<Record<string, string>> = {
  "chat.completions": "/v1/chat/completions",
  responses: "/v1/responses",
  embeddings: "/v1/embeddings",
  completions: "/v1/completions",
  messages: "/v1/messages",
  "messages.count_tokens": "/v1/messages/count_tokens",
};

export type Counts = { readonly [field: string]: unknown };

/** A recorded call of an endpoint that Sluice knows, with what it makes of the request. */
export interface RecordedCall {
  readonly id: string;
  readonly provider: string;
  readonly format: ProviderFormat;
  readonly requestBody: Buffer;
  readonly call: ParsedCall;
  readonly status: number;
  readonly contentType: string;
  readonly isStream: boolean;
  readonly answer: Buffer;
  /** As the provider gave it. */
  readonly usage: Counts | undefined;
}

/** All recorded calls of known endpoints with a model in their body (Azure's old paths have it in the path). */
export function recordedCalls(): readonly RecordedCall[] {
  return allRecordedRows().flatMap((row) => {
    const path = PATHS[row.api];
    const body = row.request_body;
    if (path === undefined || row.method !== "POST" || typeof body !== "object") return [];
    if (typeof (body as Counts).model !== "string") return [];
    const format = row.provider === "anthropic" ? anthropicFormat : openaiFormat;
    const requestBody = Buffer.from(JSON.stringify(body));
    const isStream = row.stream === true;
    const headers = row.response_headers as Readonly<Record<string, string>>;
    return {
      id: row.id,
      provider: row.provider,
      format,
      requestBody,
      call: format.parseCall(format.endpointOf("POST", path), requestBody),
      status: Number(row.status),
      contentType: headers["content-type"] ?? (isStream ? "text/event-stream" : "application/json"),
      isStream,
      answer: Buffer.from(String(row.response_body)),
      usage: (row.usage ?? undefined) as Counts | undefined,
    };
  });
}

/** The counts that limits need, straight from a provider's usage object. */
export function countsOf(usage: Counts, provider: string): { input: number; cached: number; output: number } {
  const number = (value: unknown) => (typeof value === "number" ? value : 0);
  const details = (usage.prompt_tokens_details ?? usage.input_tokens_details ?? {}) as Counts;
  if (provider === "anthropic") {
    const cached = number(usage.cache_read_input_tokens);
    const input = number(usage.input_tokens) + number(usage.cache_creation_input_tokens) + cached;
    return { input, cached, output: number(usage.output_tokens) };
  }
  const input = number(usage.prompt_tokens ?? usage.input_tokens);
  return {
    input,
    cached: Math.min(input, number(details.cached_tokens)),
    output: number(usage.completion_tokens ?? usage.output_tokens),
  };
}

/** The events of a stream, each with its blank line. */
export function eventsOf(stream: Buffer): string[] {
  return stream
    .toString("latin1")
    .split(/(?<=\r?\n\r?\n)/)
    .filter((event) => event !== "");
}
