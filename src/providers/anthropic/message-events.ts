import type { MeteredUsage, ParsedCall } from "../../ports/provider-format.ts";
import { countedUsage } from "../http/answer-meter.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { type EmittedText, jsonTextEnd } from "../http/emitted-text.ts";
import type { JsonWatcher } from "../http/json-watcher.ts";
import { parsedEvent } from "../http/parsed-event.ts";
import type { StreamReader } from "../http/stream-meter.ts";
import { errorCodeOf } from "./errors.ts";
import { mergedUsage, readUsage } from "./usage.ts";

const DELTA_EVENT = "event: content_block_delta";
/** The usual deltas: what stands before their text. */
const OPENINGS: readonly string[] = [
  '"delta":{"type":"text_delta","text":"',
  '"delta":{"type":"input_json_delta","partial_json":"',
  '"delta":{"type":"thinking_delta","thinking":"',
];

/** Reads the events of a streamed message. */
export class MessageEvents implements StreamReader {
  readonly watchedPaths: readonly string[] = ["message.usage", "usage"];
  readonly #call: ParsedCall;
  readonly #emitted: EmittedText;
  #usage: JsonObject | undefined;
  /** A `message_delta` has said the output so far; `message_start` only knows its first few tokens. */
  #hasCumulative = false;
  /** That was the last of them. */
  #hasEnded = false;
  #error: string | undefined;

  constructor(call: ParsedCall, emitted: EmittedText) {
    this.#call = call;
    this.#emitted = emitted;
  }

  read(event: string): boolean {
    if (!event.startsWith(DELTA_EVENT) || !this.#readDelta(event)) {
      const parsed = parsedEvent(event);
      if (isJsonObject(parsed)) this.#readParsed(parsed);
    }
    return false;
  }

  readWatched(watched: JsonWatcher): void {
    for (const path of this.watchedPaths) {
      const usage = parsedEvent(`data: ${watched.text(path)}`);
      if (!isJsonObject(usage)) continue;
      this.#usage = mergedUsage(this.#usage, usage);
      this.#hasCumulative ||= path === "usage";
    }
  }

  metered(hasFinished: boolean): MeteredUsage {
    const usage = this.#usage === undefined ? undefined : readUsage(this.#usage);
    const isFinal = this.#hasCumulative && (this.#hasEnded || (hasFinished && this.#error === undefined));
    if (usage !== undefined && isFinal) return { kind: "reported", usage };
    if (this.#error !== undefined && this.#emitted.isEmpty && usage === undefined) return { kind: "none" };
    return { kind: "counted", usage: countedUsage(this.#call, this.#emitted.tokens, usage) };
  }

  get emittedTokens(): number {
    return this.#emitted.tokens;
  }

  /** `message_start` says it. */
  get inputTokens(): number | undefined {
    return this.#usage === undefined ? undefined : readUsage(this.#usage)?.inputTokens;
  }

  /** The reason why it stops comes with the usage. */
  get isEnding(): boolean {
    return false;
  }

  inStreamError(): string | undefined {
    return this.#error;
  }

  #readDelta(event: string): boolean {
    for (const opening of OPENINGS) {
      const at = event.indexOf(opening);
      if (at === -1) continue;
      const from = at + opening.length;
      this.#emitted.addJsonText(event, from, jsonTextEnd(event, from));
      return true;
    }
    return false;
  }

  #readParsed(event: JsonObject): void {
    switch (event.type) {
      case "message_start":
        if (isJsonObject(event.message)) this.#addUsage(event.message.usage);
        return;
      case "message_delta":
        this.#addUsage(event.usage);
        this.#hasCumulative ||= isJsonObject(event.usage);
        this.#hasEnded ||= isJsonObject(event.delta) && typeof event.delta.stop_reason === "string";
        return;
      case "message_stop":
        this.#hasEnded = true;
        return;
      case "content_block_start":
        if (isJsonObject(event.content_block)) this.#addBlock(event.content_block);
        return;
      case "content_block_delta":
        if (isJsonObject(event.delta)) {
          for (const field of ["text", "partial_json", "thinking"]) {
            this.#emitted.addParsedText(event.delta[field]);
          }
        }
        return;
      case "error":
        this.#error ??= errorCodeOf(event.error);
        return;
    }
  }

  #addUsage(usage: unknown): void {
    if (isJsonObject(usage)) this.#usage = mergedUsage(this.#usage, usage);
  }

  #addBlock(block: JsonObject): void {
    if (block.type === "tool_use" || block.type === "server_tool_use") {
      this.#emitted.addToolCall(block.name);
    }
    this.#emitted.addParsedText(block.text);
  }
}
