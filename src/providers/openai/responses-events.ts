import type { Usage } from "../../core/estimate/usage.ts";
import type { MeteredUsage, ParsedCall } from "../../ports/provider-format.ts";
import { countedUsage } from "../http/answer-meter.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { type EmittedText, jsonTextEnd } from "../http/emitted-text.ts";
import type { JsonWatcher } from "../http/json-watcher.ts";
import { parsedEvent } from "../http/parsed-event.ts";
import type { StreamReader } from "../http/stream-meter.ts";
import { errorCodeOf } from "./errors.ts";
import { readUsage } from "./usage.ts";

const DELTA = '"delta":"';
const TYPE = '"type":"';

/** Every `….delta` is text that the model wrote, but for this: base64, whose tokens only the usage shows. */
const SOUND = "response.audio.delta";
/** A text has been written to its end; mostly it is the last of the answer. */
const TEXT_DONE = "response.output_text.done";
/** What of a response is wanted beside its usage. */
const BESIDE = ["error", "service_tier", "tool_usage"] as const;
/** Events that matter beside deltas. */
const PARSED: ReadonlySet<string> = new Set([
  "response.completed",
  "response.incomplete",
  "response.failed",
  "response.output_item.added",
  "error",
]);

/** Reads the events of a streamed response of the Responses API. */
export class ResponsesEvents implements StreamReader {
  readonly watchedPaths: readonly string[] = ["response.usage", ...BESIDE.map((name) => `response.${name}`)];
  readonly #call: ParsedCall;
  readonly #emitted: EmittedText;
  #usage: Usage | undefined;
  #hasWritten = false;
  #error: string | undefined;

  constructor(call: ParsedCall, emitted: EmittedText) {
    this.#call = call;
    this.#emitted = emitted;
  }

  read(event: string): boolean {
    const type = typeOf(event);
    if (type.endsWith(".delta") && type !== SOUND) {
      const at = event.indexOf(DELTA);
      if (at === -1) return false;
      const from = at + DELTA.length;
      this.#emitted.addJsonText(event, from, jsonTextEnd(event, from));
    } else if (type === TEXT_DONE) {
      this.#hasWritten = true;
    } else if (PARSED.has(type)) {
      const parsed = parsedEvent(event);
      if (isJsonObject(parsed)) this.#readParsed(parsed);
    }
    return false;
  }

  readWatched(watched: JsonWatcher): void {
    const usage = watched.text("response.usage");
    if (usage === undefined) return;
    const beside = BESIDE.map((name) => `,"${name}":${watched.text(`response.${name}`) ?? "null"}`).join("");
    const parsed = parsedEvent(`data: {"response":{"usage":${usage}${beside}}}`);
    if (isJsonObject(parsed)) this.#readParsed(parsed);
  }

  metered(): MeteredUsage {
    if (this.#usage !== undefined) return { kind: "reported", usage: this.#usage };
    if (this.#error !== undefined && this.#emitted.isEmpty) return { kind: "none" };
    return { kind: "counted", usage: countedUsage(this.#call, this.#emitted.tokens) };
  }

  get emittedTokens(): number {
    return this.#emitted.tokens;
  }

  get inputTokens(): number | undefined {
    return this.#usage?.inputTokens;
  }

  get isEnding(): boolean {
    return this.#hasWritten && this.#usage === undefined;
  }

  inStreamError(): string | undefined {
    return this.#error;
  }

  #readParsed(event: JsonObject): void {
    if (event.type === "error") this.#error ??= errorCodeOf(event.error ?? event);
    const item = event.item;
    if (isJsonObject(item) && typeof item.name === "string") {
      this.#emitted.addToolCall(item.name);
    }
    const response = event.response;
    if (!isJsonObject(response)) return;
    if (isJsonObject(response.error)) this.#error ??= errorCodeOf(response.error);
    if (isJsonObject(response.usage)) this.#usage = readUsage(response.usage, response) ?? this.#usage;
  }
}

/** The event's name, from its `event:` line or else from the first `type` of its data. */
function typeOf(event: string): string {
  if (event.startsWith("event:")) {
    const end = event.indexOf("\n");
    return event.slice(6, end === -1 ? event.length : end).trim();
  }
  const at = event.indexOf(TYPE);
  return at === -1 ? "" : event.slice(at + TYPE.length, event.indexOf('"', at + TYPE.length));
}
