import { imageSizeOfUrl, patchedImageTokens, tiledImageTokens } from "../../core/estimate/image-tokens.ts";
import type { InputTokenCounter } from "../../core/estimate/input-shape.ts";
import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import { audioTokens, documentTextTokens } from "../../core/estimate/media-tokens.ts";
import type { Endpoint } from "../../ports/provider-format.ts";
import { isJsonObject, type JsonObject } from "../http/body-json.ts";
import { addToolTokens } from "./tool-tokens.ts";

/** Frame of a message (start, end, separator) and its role; one more for a name; the frame of the answer that follows. */
const MESSAGE_TOKENS = 4;
const NAME_TOKENS = 1;
const REPLY_TOKENS = 3;
/** Frame of a tool call or its result in the history: recipient, channel, type. */
const TOOL_CALL_TOKENS = 8;
/** A page of a PDF: its text and its picture in chats, 220 to 1,000 in recorded calls; its text in the Responses API, 6 to 730. */
const PAGE_TOKENS = 400;
const PAGE_TEXT_TOKENS = 250;

/** Adds everything of a body that the model reads. `body` comes from outside: whatever has another shape than expected counts as JSON text or not at all. */
export function addInputTokens(counter: InputTokenCounter, endpoint: Endpoint, body: JsonObject): void {
  switch (endpoint) {
    case "chat_completions":
      addChat(counter, body);
      return;
    case "responses":
      addResponses(counter, body);
      return;
    case "embeddings":
      addPrompt(counter, body.input);
      return;
    case "completions":
      addPrompt(counter, body.prompt);
      addTextTokens(counter, body.suffix);
      return;
    case "messages":
    case "count_tokens":
    case "models":
    case "other":
      return;
  }
}

function addChat(counter: InputTokenCounter, body: JsonObject): void {
  counter.addTokens(REPLY_TOKENS);
  const messages = body.messages;
  if (Array.isArray(messages)) for (const message of messages) addMessage(counter, message, modelName(body));
  addToolTokens(counter, body.tools);
  addToolTokens(counter, body.functions);
  if (isJsonObject(body.response_format)) addSchema(counter, body.response_format.json_schema);
}

function addMessage(counter: InputTokenCounter, message: unknown, model: string): void {
  if (!isJsonObject(message)) return;
  counter.addTokens(MESSAGE_TOKENS);
  if (typeof message.name === "string") {
    counter.addTokens(NAME_TOKENS);
    addTextTokens(counter, message.name);
  }
  addContent(counter, message.content, model);
  addTextTokens(counter, message.refusal);
  addTextTokens(counter, message.reasoning_content);
  const calls = message.tool_calls;
  if (Array.isArray(calls)) {
    for (const call of calls) if (isJsonObject(call)) addFunctionCall(counter, call.function ?? call.custom);
  }
  addFunctionCall(counter, message.function_call);
}

function addFunctionCall(counter: InputTokenCounter, call: unknown): void {
  if (!isJsonObject(call)) return;
  counter.addTokens(TOOL_CALL_TOKENS);
  addTextTokens(counter, call.name);
  addTextTokens(counter, call.arguments);
  addTextTokens(counter, call.input);
}

/** A text, or a list of parts of both APIs: `text`, `image_url`, `input_audio`, `file`, and their names in the Responses API. */
function addContent(counter: InputTokenCounter, content: unknown, model: string): void {
  addTextTokens(counter, content);
  if (!Array.isArray(content)) return;
  for (const part of content) {
    if (typeof part === "string") addTextTokens(counter, part);
    else if (isJsonObject(part)) addPart(counter, part, model);
  }
}

function addPart(counter: InputTokenCounter, part: JsonObject, model: string): void {
  switch (part.type) {
    case "image_url":
    case "input_image": {
      const image = part.image_url;
      const isNested = isJsonObject(image);
      const detail = isNested ? image.detail : part.detail;
      counter.note("image");
      counter.addTokens(imageTokens(model, isNested ? image.url : image, detail === "low"));
      return;
    }
    case "input_audio":
    case "audio": {
      const audio = part.input_audio;
      counter.note("document");
      if (isJsonObject(audio)) counter.addTokens(audioTokens(audio.data, audio.format));
      return;
    }
    case "file":
    case "input_file": {
      counter.note("document");
      const file = isJsonObject(part.file) ? part.file : part;
      counter.addTokens(
        documentTextTokens(file.file_data, part.type === "file" ? PAGE_TOKENS : PAGE_TEXT_TOKENS),
      );
      return;
    }
    default:
      addTextTokens(counter, part.text);
      addTextTokens(counter, part.refusal);
  }
}

function addResponses(counter: InputTokenCounter, body: JsonObject): void {
  counter.addTokens(REPLY_TOKENS);
  if (typeof body.instructions === "string") {
    counter.addTokens(MESSAGE_TOKENS);
    addTextTokens(counter, body.instructions);
  }
  if (isGiven(body.previous_response_id) || isGiven(body.conversation) || isJsonObject(body.prompt)) {
    counter.note("remote");
  }
  const input = body.input;
  if (typeof input === "string") {
    counter.addTokens(MESSAGE_TOKENS);
    addTextTokens(counter, input);
  } else if (Array.isArray(input)) {
    for (const item of input) addItem(counter, item, modelName(body));
  }
  addToolTokens(counter, body.tools);
  const text = body.text;
  if (isJsonObject(text) && isJsonObject(text.format)) addSchema(counter, text.format);
}

function addItem(counter: InputTokenCounter, item: unknown, model: string): void {
  if (!isJsonObject(item)) return;
  switch (item.type) {
    case undefined:
    case "message":
      addMessage(counter, item, model);
      return;
    case "function_call":
    case "custom_tool_call":
      addFunctionCall(counter, item);
      return;
    case "function_call_output":
    case "custom_tool_call_output":
      counter.addTokens(TOOL_CALL_TOKENS);
      addContent(counter, item.output, model);
      return;
    case "reasoning":
      // Its text is with the provider, who alone decides whether the model reads it again.
      counter.note("remote");
      if (Array.isArray(item.summary)) addContent(counter, item.summary, model);
      return;
    case "item_reference":
      counter.note("remote");
      return;
    default:
      counter.note("remote");
      counter.addTokens(MESSAGE_TOKENS);
      addJsonTokens(counter, item);
  }
}

/** The schema of a structured answer is written into the prompt. */
function addSchema(counter: InputTokenCounter, schema: unknown): void {
  if (isJsonObject(schema) && schema.schema !== undefined) addJsonTokens(counter, schema.schema);
}

/** A text, texts, model tokens, or lists of model tokens: what embeddings and legacy completions take. */
function addPrompt(counter: InputTokenCounter, prompt: unknown): void {
  addTextTokens(counter, prompt);
  if (!Array.isArray(prompt)) return;
  for (const element of prompt) {
    if (typeof element === "number") counter.addTokens(1);
    else if (typeof element === "string") addTextTokens(counter, element);
    else if (Array.isArray(element)) counter.addTokens(element.length);
  }
}

/** A field that is there and not null. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function modelName(body: JsonObject): string {
  return typeof body.model === "string" ? body.model : "";
}

/** Multipliers and budgets of models that count 32-pixel patches; the rest count tiles. First match counts. */
const PATCH_RULES: readonly (readonly [
  RegExp,
  { readonly multiplier: number; readonly patchesMax: number },
])[] = [
  [/gpt-4\.1[^/]*-nano/, { multiplier: 2.46, patchesMax: 1536 }],
  [/gpt-4\.1[^/]*-mini/, { multiplier: 1.62, patchesMax: 1536 }],
  // The documentation gives these the multipliers of 4.1; recorded calls of one picture with all of them say otherwise.
  [/gpt-5[^/]*-nano/, { multiplier: 1.5, patchesMax: 1536 }],
  [/gpt-5[^/]*-mini/, { multiplier: 1.2, patchesMax: 1536 }],
  [/o4-mini/, { multiplier: 1.72, patchesMax: 1536 }],
  [/gpt-5\.[2-9]/, { multiplier: 1.2, patchesMax: 2500 }],
];
const TILE_RULES: readonly (readonly [RegExp, { readonly base: number; readonly perTile: number }])[] = [
  [/gpt-4o-mini/, { base: 2833, perTile: 5667 }],
  [/gpt-5/, { base: 70, perTile: 140 }],
  [/(^|\/)o[13]/, { base: 75, perTile: 150 }],
  [/./, { base: 85, perTile: 170 }],
];

function imageTokens(model: string, url: unknown, isLowDetail: boolean): number {
  const size = imageSizeOfUrl(url);
  const patches = PATCH_RULES.find(([pattern]) => pattern.test(model));
  if (patches !== undefined) return patchedImageTokens(size, patches[1]);
  const tiles = TILE_RULES.find(([pattern]) => pattern.test(model));
  return tiledImageTokens(size, (tiles as (typeof TILE_RULES)[number])[1], isLowDetail);
}
