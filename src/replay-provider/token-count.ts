import { isObject } from "./recording.ts";

/** Characters a token, as providers estimate before they look closer. */
const CHARACTERS_PER_TOKEN = 4;
/** OpenAI's framing of a chat: 3 a message, 1 with a name, 3 for the reply. */
const FRAME_MESSAGE = 3;
const FRAME_NAME = 1;
const FRAME_REPLY = 3;
/** What an image adds to what OpenAI's headers show as charged, whatever it costs. */
const IMAGE_TOKENS = 765;

/** What a synthesised answer says that the request's input was: characters ÷ 4 and the framing of messages, tools included. Never 0. */
export function inputTokensOf(body: unknown): number {
  if (!isObject(body)) return 1;
  const messages = messagesOf(body);
  const framing =
    messages.reduce<number>((sum, message) => sum + FRAME_MESSAGE + (hasName(message) ? FRAME_NAME : 0), 0) +
    (messages.length > 0 ? FRAME_REPLY : 0);
  const texts = [
    ...messages.map(contentOf),
    body.system,
    body.instructions,
    body.prompt,
    messages.length === 0 ? body.input : undefined,
  ].map(measure);
  const tools = body.tools === undefined ? 0 : JSON.stringify(body.tools).length;
  const characters = texts.reduce((sum, text) => sum + text.characters, tools);
  const others = texts.reduce((sum, text) => sum + text.tokens, 0);
  return Math.max(1, Math.ceil(characters / CHARACTERS_PER_TOKEN) + others + framing);
}

/**
 * What OpenAI's headers show as charged for a call: Σ ceil((length of role + length of text) ÷ 4) + n, measured on recorded traffic.
 * Without messages: characters ÷ 4.
 */
export function openAiChargeOf(body: unknown): number {
  if (!isObject(body)) return 1;
  const messages = messagesOf(body);
  if (messages.length === 0) return inputTokensOf(body);
  const perMessage = messages.map((message) => {
    const role = isObject(message) && typeof message.role === "string" ? message.role.length : 0;
    const { characters, tokens } = measure(contentOf(message));
    return Math.ceil((role + characters) / CHARACTERS_PER_TOKEN) + tokens;
  });
  return perMessage.reduce((sum, tokens) => sum + tokens, answersWanted(body));
}

/** The most output a call allows, by any of the names it has; undefined where it says nothing. For one answer. */
export function outputTokensMaxOf(body: unknown): number | undefined {
  if (!isObject(body)) return undefined;
  const named = [
    body.max_completion_tokens,
    body.max_output_tokens,
    body.max_tokens,
    body.max_tokens_to_sample,
  ];
  return named.find((value): value is number => Number.isSafeInteger(value) && (value as number) > 0);
}

/** `n`, within what OpenAI allows. */
export function answersWanted(body: Readonly<Record<string, unknown>>): number {
  const { n } = body;
  return typeof n === "number" && Number.isInteger(n) && n >= 1 && n <= 128 ? n : 1;
}

function messagesOf(body: Readonly<Record<string, unknown>>): readonly unknown[] {
  if (Array.isArray(body.messages)) return body.messages;
  const { input } = body;
  return Array.isArray(input) && input.some(isObject) ? input : [];
}

const hasName = (message: unknown) => isObject(message) && typeof message.name === "string";

const contentOf = (message: unknown) =>
  isObject(message) ? [message.content, message.tool_calls, message.output] : message;

interface Measure {
  readonly characters: number;
  /** What is there as tokens already: images, and token ids. */
  readonly tokens: number;
}

/** Length of all text in a value: strings, and the strings in arrays and in parts of messages. */
function measure(value: unknown): Measure {
  if (typeof value === "string") return { characters: value.length, tokens: 0 };
  if (typeof value === "number") return { characters: 0, tokens: 1 };
  if (Array.isArray(value)) {
    const parts = value.map(measure);
    return {
      characters: parts.reduce((sum, part) => sum + part.characters, 0),
      tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
    };
  }
  if (!isObject(value)) return { characters: 0, tokens: 0 };
  if (/image/.test(String(value.type))) return { characters: 0, tokens: IMAGE_TOKENS };
  if (typeof value.text === "string") return { characters: value.text.length, tokens: 0 };
  return { characters: JSON.stringify(value).length, tokens: 0 };
}
