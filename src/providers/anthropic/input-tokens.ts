import { claudeImageTokens, imageSizeOfData } from "../../core/estimate/image-tokens.ts";
import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import { documentTokens } from "../../core/estimate/media-tokens.ts";
import type { TextTokenCounter } from "../../core/estimate/text-tokens.ts";
import { tokenFamilyOf } from "../../core/estimate/token-family.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";

/** Frame of a message and its role, and of the answer that follows: a one-word question costs 8 tokens. */
const MESSAGE_TOKENS = 3;
const REPLY_TOKENS = 4;
/** The prompt that tools bring with them, and the frame of one tool. */
const TOOLS_TOKENS = 340;
const TOOL_TOKENS = 10;
/** Frame of a tool call or its result in the history. */
const TOOL_CALL_TOKENS = 20;

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
  const output = body.output_config;
  if (isJsonObject(output) && isJsonObject(output.format)) addJsonTokens(counter, output.format.schema);
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
  else counter.addTokens(documentTokens(source.data));
}

function addTools(counter: TextTokenCounter, tools: unknown): void {
  if (!isNonEmptyArray(tools)) return;
  counter.addTokens(TOOLS_TOKENS);
  for (const tool of tools) {
    counter.addTokens(TOOL_TOKENS);
    addJsonTokens(counter, tool);
  }
}
