import type { Usage } from "../../core/estimate/usage.ts";
import type { MeteredUsage, ParsedCall, UsageMeter } from "../../ports/provider-format.ts";
import { isJsonObject, type JsonObject } from "./body-json.ts";
import { EmittedText, jsonTextEnd } from "./emitted-text.ts";
import { JsonWatcher } from "./json-watcher.ts";

const EMPTY = Buffer.alloc(0);
/** How much of an answer is kept to count its texts where it carries no usage; the rest is taken to be like it. */
const HEAD_BYTES_MAX = 262_144;
/** Members whose texts a model wrote, in the answers of all endpoints. */
const WRITTEN = /"(?:content|text|arguments|reasoning_content|reasoning|refusal|thinking)"\s*:\s*"/g;

/** What stands beside a usage and says how the call was served, and what else was done for it. */
const BESIDE = ["service_tier", "tool_usage"] as const;

/** Reads a provider's own usage object; `beside` is the object that it stands in, or those members of it that matter. `undefined` where it is absurd. */
export type UsageReader = (usage: JsonObject, beside: JsonObject) => Usage | undefined;

/** Watches an answer in one JSON object for its top-level `usage`, wherever it stands and however long the answer is. */
export class AnswerMeter implements UsageMeter {
  readonly #call: ParsedCall;
  readonly #readUsage: UsageReader;
  readonly #watcher = new JsonWatcher({ paths: ["usage", "error", ...BESIDE], capture: true });
  #head: Buffer[] = [];
  #headBytes = 0;
  #bytes = 0;

  constructor(call: ParsedCall, readUsage: UsageReader) {
    this.#call = call;
    this.#readUsage = readUsage;
  }

  push(chunk: Buffer): Buffer {
    this.#watcher.push(chunk);
    this.#bytes += chunk.length;
    if (this.#headBytes < HEAD_BYTES_MAX) {
      const piece = chunk.subarray(0, HEAD_BYTES_MAX - this.#headBytes);
      this.#head.push(piece);
      this.#headBytes += piece.length;
    }
    return chunk;
  }

  finish(): Buffer {
    return EMPTY;
  }

  metered(): MeteredUsage {
    const usage = parsed(this.#watcher.text("usage"));
    const reported = isJsonObject(usage) ? this.#readUsage(usage, this.#beside()) : undefined;
    if (reported !== undefined) return { kind: "reported", usage: reported };
    if (isJsonObject(parsed(this.#watcher.text("error")))) return { kind: "none" };
    return { kind: "counted", usage: countedUsage(this.#call, this.#writtenTokens()) };
  }

  /** The answer is there when it begins. */
  isEnding(): boolean {
    return false;
  }

  #beside(): JsonObject {
    return Object.fromEntries(BESIDE.map((name) => [name, parsed(this.#watcher.text(name))]));
  }

  inStreamError(): undefined {
    return undefined;
  }

  /** The answer comes as a whole. */
  emittedTokens(): number {
    return 0;
  }

  inputTokens(): undefined {
    return undefined;
  }

  #writtenTokens(): number {
    if (this.#call.endpoint === "embeddings" || this.#headBytes === 0) return 0;
    const head = Buffer.concat(this.#head).toString("latin1");
    const written = new EmittedText(this.#call.model);
    WRITTEN.lastIndex = 0;
    while (WRITTEN.exec(head) !== null) {
      const from = WRITTEN.lastIndex;
      const end = jsonTextEnd(head, from);
      written.addJsonText(head, from, end);
      WRITTEN.lastIndex = end;
    }
    return Math.round(written.tokens * (this.#bytes / this.#headBytes));
  }
}

/** For answers without model tokens: bytes pass, nothing is counted. */
export const UNCOUNTED_METER: UsageMeter = {
  push: (chunk) => chunk,
  finish: () => EMPTY,
  metered: () => ({ kind: "none" }),
  isEnding: () => false,
  inStreamError: () => undefined,
  emittedTokens: () => 0,
  inputTokens: () => undefined,
};

/** A usage from the estimate of the input and a count of the output. */
export function countedUsage(call: ParsedCall, outputTokens: number, input?: Usage): Usage {
  return {
    ...input,
    inputTokens: input?.inputTokens ?? call.estimate.inputTokens,
    cachedInputTokens: input?.cachedInputTokens ?? 0,
    cacheWriteInputTokens: input?.cacheWriteInputTokens ?? 0,
    outputTokens: Math.max(outputTokens, input?.outputTokens ?? 0),
    reasoningTokens: Math.min(input?.reasoningTokens ?? 0, Math.max(outputTokens, input?.outputTokens ?? 0)),
  };
}

function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
