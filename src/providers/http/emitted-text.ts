import { TextTokenCounter } from "../../core/estimate/text-tokens.ts";
import {
  type AnswerFrames,
  answerFramesOf,
  textWeightsOf,
  tokenFamilyOf,
} from "../../core/estimate/token-family.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_NON_ASCII = 0x80;

/** Counts what a model has written, from the JSON texts of its stream, so that a cut stream can be settled (S2). */
export class EmittedText {
  readonly #counter: TextTokenCounter;
  readonly #frames: AnswerFrames;
  readonly #frameTokensOfApi: number;
  #pieces = 0;
  #toolCalls = 0;

  /** By the tokenizer of `model`; `frameTokens` come with an answer of this API beside its texts. */
  constructor(model: string, frameTokens = 0) {
    const family = tokenFamilyOf(model);
    this.#counter = new TextTokenCounter(textWeightsOf(family));
    this.#frames = answerFramesOf(family);
    this.#frameTokensOfApi = frameTokens;
  }

  /** Estimated model tokens, a whole number; no fewer than pieces, as no stream sends a piece of a token. */
  get tokens(): number {
    if (this.isEmpty) return 0;
    return Math.max(this.#pieces, Math.round(this.#counter.tokens)) + this.#frameTokens();
  }

  get isEmpty(): boolean {
    return this.#pieces + this.#toolCalls === 0;
  }

  /** A new call of a tool begins. */
  addToolCall(name: unknown): void {
    this.#toolCalls++;
    this.#counter.breakText();
    this.addParsedText(name);
    this.#counter.breakText();
  }

  /** Counts the JSON text between its quotes, from `from` to `end` of `event`, which has one character a byte. */
  addJsonText(event: string, from: number, end: number): void {
    if (end <= from) return;
    this.#pieces++;
    if (isPlain(event, from, end)) this.#counter.addText(event, from, end);
    else this.#counter.addText(decoded(event.slice(from, end)));
  }

  /** Counts a text that was parsed out of an event with one character a byte. */
  addParsedText(value: unknown): void {
    if (typeof value !== "string" || value === "") return;
    this.#pieces++;
    this.#counter.addText(utf8(value));
  }

  #frameTokens(): number {
    const { answer, toolCall, nextToolCall } = this.#frames;
    return (
      this.#frameTokensOfApi +
      answer +
      (this.#toolCalls === 0 ? 0 : toolCall + nextToolCall * (this.#toolCalls - 1))
    );
  }
}

/** Offset of the quote that ends the JSON text of which `from` is the first character; the length where none does. */
export function jsonTextEnd(event: string, from: number): number {
  let end = from;
  while (end < event.length) {
    const unit = event.charCodeAt(end);
    if (unit === QUOTE) return end;
    end += unit === BACKSLASH ? 2 : 1;
  }
  return event.length;
}

function isPlain(event: string, from: number, end: number): boolean {
  for (let index = from; index < end; index++) {
    const unit = event.charCodeAt(index);
    if (unit === BACKSLASH || unit >= FIRST_NON_ASCII) return false;
  }
  return true;
}

/** The text of a JSON string given byte by byte; as it stands when it is broken. */
function decoded(bytes: string): string {
  const text = utf8(bytes);
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return text;
  }
}

function utf8(bytes: string): string {
  // A text with characters beyond one byte came from an escape: it is decoded already.
  for (let index = 0; index < bytes.length; index++) {
    const unit = bytes.charCodeAt(index);
    if (unit > 0xff) return bytes;
  }
  return Buffer.from(bytes, "latin1").toString("utf8");
}
