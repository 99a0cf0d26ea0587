import type { Endpoint } from "../ports/provider-format.ts";
import { type Answer, type AnswerUsage, sse } from "./answer.ts";
import { asksForUsage } from "./canonical-json.ts";
import { isObject, type Recording } from "./recording.ts";
import { chatUsage } from "./synthesise-openai.ts";
import { inputTokensOf } from "./token-count.ts";

/** The transport's own, computed anew (RFC 9110 §7.6.1), and the encoding that recorders undid. */
const NOT_REPLAYED = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const DONE = "data: [DONE]";

/**
 * What was recorded: status, headers, bytes. A chat stream without usage, asked for with `include_usage`, gets the extra chunk before
 * `data: [DONE]`; nothing else is ever changed. Where a recorder kept no content type, the one that the body has is given.
 */
export function recordedAnswer(recording: Recording, endpoint: Endpoint, requestBody: unknown): Answer {
  const counted = usageOf(recording, requestBody);
  const wantsUsage =
    (endpoint === "chat_completions" || endpoint === "completions") &&
    recording.stream &&
    asksForUsage(requestBody) &&
    !hasUsageChunk(recording.responseBody);
  const text = wantsUsage ? withUsageChunk(recording.responseBody, counted) : recording.responseBody;
  return {
    status: recording.status,
    headers: headersOf(recording),
    body: Buffer.from(text),
    stream: recording.stream,
    usage: counted,
  };
}

function headersOf(recording: Recording): string[] {
  const named = Object.entries(recording.responseHeaders).filter(
    ([name]) => !NOT_REPLAYED.has(name.toLowerCase()),
  );
  const hasType = named.some(([name]) => name.toLowerCase() === "content-type");
  const type = recording.stream ? "text/event-stream; charset=utf-8" : "application/json";
  const missing = hasType || recording.responseBody === "" ? [] : ["content-type", type];
  return [...named.flat(), ...missing];
}

/** The provider's own numbers in any of its shapes; counted where it gave none. */
function usageOf(recording: Recording, requestBody: unknown): AnswerUsage {
  const { usage } = recording;
  const number = (...names: readonly string[]) => {
    if (!isObject(usage)) return undefined;
    for (const name of names) {
      const value = usage[name];
      if (typeof value === "number") return value;
    }
    return undefined;
  };
  if (recording.status >= 400) return { inputTokens: 0, outputTokens: 0 };
  const cacheWrites = number("cache_creation_input_tokens") ?? 0;
  const input = number("prompt_tokens", "input_tokens");
  return {
    inputTokens: input === undefined ? inputTokensOf(requestBody) : input + cacheWrites,
    outputTokens: number("completion_tokens", "output_tokens") ?? countDeltas(recording.responseBody),
  };
}

const events = (text: string) =>
  text.split(/\r?\n\r?\n/).flatMap((event) => {
    const data = /^data: ?(\{.*)$/m.exec(event)?.[1];
    return data === undefined ? [] : [parsedOrUndefined(data)];
  });

function parsedOrUndefined(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const firstChoice = (event: unknown) =>
  isObject(event) && Array.isArray(event.choices) ? (event.choices[0] as unknown) : undefined;

/** A delta with content is about one token. */
function countDeltas(text: string): number {
  return events(text).filter((event) => {
    const choice = firstChoice(event);
    if (!isObject(choice)) return false;
    const { delta, text: completion } = choice;
    if (typeof completion === "string") return completion !== "";
    return isObject(delta) && Boolean(delta.content || delta.tool_calls || delta.function_call);
  }).length;
}

function hasUsageChunk(text: string): boolean {
  return events(text).some((event) => isObject(event) && isObject(event.usage));
}

function withUsageChunk(text: string, usage: AnswerUsage): string {
  const end = text.lastIndexOf(DONE);
  const first = events(text).find((event) => firstChoice(event) !== undefined);
  if (end < 0 || !isObject(first)) return text;
  const { id, object, created, model, service_tier, system_fingerprint } = first;
  const head = { id, object, created, model, service_tier, system_fingerprint };
  return `${text.slice(0, end)}${sse({ ...head, choices: [], usage: chatUsage(usage) })}${text.slice(end)}`;
}
