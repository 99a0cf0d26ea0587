import type { Usage } from "../../core/estimate/usage.ts";
import type { MeteredUsage, ParsedCall } from "../../ports/provider-format.ts";
import { countedUsage } from "../http/answer-meter.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";
import { type EmittedText, jsonTextEnd } from "../http/emitted-text.ts";
import type { JsonWatcher } from "../http/json-watcher.ts";
import { parsedEvent } from "../http/parsed-event.ts";
import type { StreamReader } from "../http/stream-meter.ts";
import { errorCodeOf } from "./errors.ts";
import { readUsage } from "./usage.ts";

const DELTA = '"delta":{';
const CONTENT = '"content":"';
const TOOL_CALL = '"tool_calls":[{"index":';
const ARGUMENTS = ',"function":{"arguments":"';
const LEGACY_TEXT = '"choices":[{"text":"';
const NEXT_TEXT = ',{"text":"';
const USAGE_KEY = '"usage"';
const BRACE = 0x7b;
const SPACE = 0x20;
const COLON = 0x3a;

/** Reads the chunks of streamed chat completions and legacy completions, of OpenAI and of hosts that are compatible with it. */
export class ChatEvents implements StreamReader {
  readonly watchedPaths: readonly string[] = ["usage", "service_tier"];
  readonly #call: ParsedCall;
  readonly #emitted: EmittedText;
  #usage: Usage | undefined;
  /** A choice has been written to its end. */
  #hasFinishReason = false;
  /** The provider has said its last word on the usage. */
  #hasEnded = false;
  #error: string | undefined;

  constructor(call: ParsedCall, emitted: EmittedText) {
    this.#call = call;
    this.#emitted = emitted;
  }

  read(event: string): boolean {
    if (!hasUsageObject(event) && this.#readShape(event)) return false;
    return this.#readParsed(event);
  }

  readWatched(watched: JsonWatcher): void {
    const usage = watched.text("usage");
    const tier = watched.text("service_tier") ?? "null";
    if (usage !== undefined) {
      this.#readParsed(`data: {"usage":${usage},"service_tier":${tier},"choices":[]}`);
    }
  }

  metered(hasFinished: boolean): MeteredUsage {
    if (this.#usage !== undefined && (this.#hasEnded || hasFinished))
      return { kind: "reported", usage: this.#usage };
    if (this.#error !== undefined && this.#emitted.isEmpty) return { kind: "none" };
    return { kind: "counted", usage: countedUsage(this.#call, this.#emitted.tokens, this.#usage) };
  }

  get emittedTokens(): number {
    return this.#emitted.tokens;
  }

  get inputTokens(): number | undefined {
    return this.#usage?.inputTokens;
  }

  get isEnding(): boolean {
    return this.#hasFinishReason && !this.#hasEnded;
  }

  inStreamError(): string | undefined {
    return this.#error;
  }

  /** The usual shapes, without building anything. Says whether the event was one of them; if not, nothing has been counted. */
  #readShape(event: string): boolean {
    const delta = event.indexOf(DELTA);
    if (delta === -1) {
      const legacy = event.indexOf(LEGACY_TEXT);
      if (legacy === -1 || event.includes(NEXT_TEXT, legacy + LEGACY_TEXT.length)) return false;
      return this.#readText(event, legacy + LEGACY_TEXT.length, ",");
    }
    const from = delta + DELTA.length;
    // Mostly a chunk has one choice. In a text, these quotes would be escaped.
    if (event.includes(DELTA, from)) return false;
    if (event.startsWith(CONTENT, from)) return this.#readText(event, from + CONTENT.length, "}");
    if (!event.startsWith(TOOL_CALL, from)) return false;
    let at = from + TOOL_CALL.length;
    while (isDigit(event.charCodeAt(at))) at++;
    return event.startsWith(ARGUMENTS, at) && this.#readText(event, at + ARGUMENTS.length, "}}]}");
  }

  /** Counts the text that begins at `from`, when nothing but `closing` comes behind it. */
  #readText(event: string, from: number, closing: string): boolean {
    const end = jsonTextEnd(event, from);
    if (!event.startsWith(closing, end + 1)) return false;
    this.#emitted.addJsonText(event, from, end);
    return true;
  }

  #readParsed(event: string): boolean {
    const chunk = parsedEvent(event);
    if (chunk === "[DONE]") this.#hasEnded = true;
    if (!isJsonObject(chunk)) return false;
    if (chunk.error !== undefined && chunk.error !== null) this.#error ??= errorCodeOf(chunk.error);
    const choices = Array.isArray(chunk.choices) ? chunk.choices : [];
    let hasFinishReason = false;
    for (const choice of choices) {
      if (!isJsonObject(choice)) continue;
      this.#emitted.addParsedText(choice.text);
      if (isJsonObject(choice.delta)) this.#addDelta(choice.delta);
      hasFinishReason ||= typeof choice.finish_reason === "string";
    }
    this.#hasFinishReason ||= hasFinishReason;
    const usage = this.#usageOf(chunk);
    if (usage === undefined) return false;
    this.#usage = usage;
    this.#hasEnded ||= hasFinishReason || choices.length === 0;
    return Array.isArray(chunk.choices) && choices.length === 0;
  }

  #usageOf(chunk: JsonObject): Usage | undefined {
    if (isJsonObject(chunk.usage)) return readUsage(chunk.usage, chunk);
    // Groq's own place for it, also where it was not asked for.
    const groq = chunk.x_groq;
    return isJsonObject(groq) && isJsonObject(groq.usage) ? readUsage(groq.usage, chunk) : undefined;
  }

  #addDelta(delta: JsonObject): void {
    for (const field of ["content", "refusal"]) this.#emitted.addParsedText(delta[field]);
    // Two names for the same text; hosts that send both send it twice.
    this.#emitted.addParsedText(delta.reasoning_content ?? delta.reasoning);
    this.#addFunction(delta.function_call);
    const calls = delta.tool_calls;
    if (!isNonEmptyArray(calls)) return;
    for (const call of calls) if (isJsonObject(call)) this.#addFunction(call.function ?? call.custom);
  }

  #addFunction(call: unknown): void {
    if (!isJsonObject(call)) return;
    if (typeof call.name === "string") {
      this.#emitted.addToolCall(call.name);
    }
    this.#emitted.addParsedText(call.arguments ?? call.input);
  }
}

/** Whether a member `usage` is an object: OpenAI sends `"usage":null` in every other chunk. */
function hasUsageObject(event: string): boolean {
  let at = event.indexOf(USAGE_KEY);
  while (at !== -1) {
    at += USAGE_KEY.length;
    let unit = event.charCodeAt(at);
    while (unit === COLON || unit === SPACE) unit = event.charCodeAt(++at);
    if (unit === BRACE) return true;
    at = event.indexOf(USAGE_KEY, at);
  }
  return false;
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}
