import { claudeImageTokens, imageSizeOfData } from "../../core/estimate/image-tokens.ts";
import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import { documentTokens } from "../../core/estimate/media-tokens.ts";
import type { TextTokenCounter } from "../../core/estimate/text-tokens.ts";
import { tokenFamilyOf } from "../../core/estimate/token-family.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";

/** Frame of a message and its role, and of the answer that follows: a one-word question costs 8 tokens. */
const MESSAGE_TOKENS = 3;
const REPLY_TOKENS = 4;
/** The prompt that tools bring with them: some 310 up to Claude 4.1, 500 from 4.5 on (fit over 110 recorded calls); and the frame of one tool. */
const TOOLS_TOKENS = 450;
const TOOL_TOKENS = 35;
/** Frame of a tool call, and of a result, in the history (same fit). */
const TOOL_CALL_TOKENS = 24;
/** What a prescribed format, and thinking, add to the prompt beside the schema (recorded calls). */
const FORMAT_TOKENS = 150;
const THINKING_TOKENS = 28;
/** A search by the provider reads what it finds: 7,700 at the median of recorded calls. Other tools of the provider bring their own prompt. */
const SEARCH_TOKENS = 8_000;
const HOSTED_TOOL_TOKENS = 2_000;
/** A page of a PDF: its text and its picture, 1,600 in recorded calls. */
const PAGE_TOKENS = 1_600;

/** Adds everything of a body that the model reads. `body` comes from outside: whatever has another shape than expected counts as JSON text or not at all. */
export function addInputTokens(counter: TextTokenCounter, body: JsonObject): void {
  const hasPatches = typeof body.model === "string" && tokenFamilyOf(body.model) === "claude_4_7";
  counter.addTokens(REPLY_TOKENS);
  addContent(counter, body.system, hasPatches);
  const messages = body.messages;
  if (Array.isArray(messages)) {
    for (const message of messages) {
      counter.addTokens(MESSAGE_TOKENS);
      if (isJsonObject(message)) addContent(counter, message.content, hasPatches);
    }
  }
  addTools(counter, body.tools);
  addFormat(counter, isJsonObject(body.output_config) ? body.output_config.format : body.output_format);
  if (isJsonObject(body.thinking) && body.thinking.type !== "disabled") counter.addTokens(THINKING_TOKENS);
}

function addContent(counter: TextTokenCounter, content: unknown, hasPatches: boolean): void {
  addTextTokens(counter, content);
  if (!Array.isArray(content)) return;
  for (const block of content) if (isJsonObject(block)) addBlock(counter, block, hasPatches);
}

function addBlock(counter: TextTokenCounter, block: JsonObject, hasPatches: boolean): void {
  switch (block.type) {
    case "text":
      addTextTokens(counter, block.text);
      return;
    case "thinking":
      addTextTokens(counter, block.thinking);
      return;
    case "redacted_thinking":
      return;
    case "image": {
      const source = isJsonObject(block.source) ? block.source : {};
      counter.addTokens(claudeImageTokens(imageSizeOfData(source.data), hasPatches));
      return;
    }
    case "document":
      addDocument(counter, block, hasPatches);
      return;
    case "tool_use":
    case "server_tool_use":
      counter.addTokens(TOOL_CALL_TOKENS);
      addTextTokens(counter, block.name);
      addJsonTokens(counter, block.input);
      return;
    case "tool_result":
      counter.addTokens(TOOL_CALL_TOKENS);
      addContent(counter, block.content, hasPatches);
      return;
    default:
      addJsonTokens(counter, block);
  }
}

function addDocument(counter: TextTokenCounter, block: JsonObject, hasPatches: boolean): void {
  addTextTokens(counter, block.title);
  addTextTokens(counter, block.context);
  const source = block.source;
  if (!isJsonObject(source)) return;
  if (source.type === "text") addTextTokens(counter, source.data);
  else if (source.type === "content") addContent(counter, source.content, hasPatches);
  else counter.addTokens(documentTokens(source.data, PAGE_TOKENS));
}

function addFormat(counter: TextTokenCounter, format: unknown): void {
  if (!isJsonObject(format)) return;
  counter.addTokens(FORMAT_TOKENS);
  addJsonTokens(counter, format.schema);
}

function addTools(counter: TextTokenCounter, tools: unknown): void {
  if (!isNonEmptyArray(tools)) return;
  counter.addTokens(TOOLS_TOKENS);
  for (const tool of tools) {
    const type = isJsonObject(tool) && typeof tool.type === "string" ? tool.type : "custom";
    if (type === "custom") {
      counter.addTokens(TOOL_TOKENS);
      addJsonTokens(counter, tool);
    } else counter.addTokens(type.startsWith("web_") ? SEARCH_TOKENS : HOSTED_TOOL_TOKENS);
  }
}
