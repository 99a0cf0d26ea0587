import { claudeImageTokens, imageSizeOfData } from "../../core/estimate/image-tokens.ts";
import type { InputTokenCounter } from "../../core/estimate/input-shape.ts";
import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import { documentTokens } from "../../core/estimate/media-tokens.ts";
import { claudeVersionOf, tokenFamilyOf } from "../../core/estimate/token-family.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";

/** Frame of a message and its role, and of the answer that follows: a one-word question costs 8 tokens. */
const MESSAGE_TOKENS = 3;
const REPLY_TOKENS = 4;
/** The frame of one tool; the prompt that tools bring beside it is in `toolsPromptTokens`. */
const TOOL_TOKENS = 35;
/** More of it where a call of a tool is demanded: 82 to 115 in recorded calls. */
const DEMANDED_TOOL_TOKENS = 90;
/** A tool that the model first has to search for is not in the prompt; the search is, with its own frame (recorded calls). */
const TOOL_SEARCH_TOKENS = 190;
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
export function addInputTokens(counter: InputTokenCounter, body: JsonObject): void {
  const hasPatches = typeof body.model === "string" && tokenFamilyOf(body.model) === "claude_4_7";
  counter.addTokens(REPLY_TOKENS);
  if (isRemote(body)) counter.note("remote");
  addContent(counter, body.system, hasPatches);
  if (Array.isArray(body.messages)) addMessages(counter, body.messages, hasPatches);
  addTools(counter, body);
  addFormat(counter, isJsonObject(body.output_config) ? body.output_config.format : body.output_format);
  if (isJsonObject(body.thinking) && body.thinking.type !== "disabled") counter.addTokens(THINKING_TOKENS);
}

/** The provider keeps files of a container, rewrites the context, or asks servers of its own. */
function isRemote(body: JsonObject): boolean {
  return [body.container, body.context_management, body.mcp_servers].some(
    (value) => value !== undefined && value !== null,
  );
}

function addMessages(counter: InputTokenCounter, messages: readonly unknown[], hasPatches: boolean): void {
  const turn = messages.findLastIndex(opensTurn);
  for (const [index, message] of messages.entries()) {
    counter.addTokens(MESSAGE_TOKENS);
    if (isJsonObject(message)) addContent(counter, message.content, hasPatches, index < turn);
  }
}

/** A question of the user, as opposed to results of tools in the middle of an answer. */
function opensTurn(message: unknown): boolean {
  if (!isJsonObject(message) || message.role !== "user") return false;
  const content = message.content;
  return (
    !Array.isArray(content) || content.some((block) => isJsonObject(block) && block.type !== "tool_result")
  );
}

/** Thinking of earlier turns is taken out of the prompt (recorded calls show it, as the documentation says). */
function addContent(
  counter: InputTokenCounter,
  content: unknown,
  hasPatches: boolean,
  isEarlier = false,
): void {
  addTextTokens(counter, content);
  if (!Array.isArray(content)) return;
  for (const block of content) {
    if (!isJsonObject(block) || (isEarlier && block.type === "thinking")) continue;
    addBlock(counter, block, hasPatches);
  }
}

function addBlock(counter: InputTokenCounter, block: JsonObject, hasPatches: boolean): void {
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
      counter.note("image");
      const source = isJsonObject(block.source) ? block.source : {};
      counter.addTokens(claudeImageTokens(imageSizeOfData(source.data), hasPatches));
      return;
    }
    case "document":
      addDocument(counter, block, hasPatches);
      return;
    case "tool_reference":
      return;
    case "server_tool_use":
      counter.note("remote");
      addToolUse(counter, block);
      return;
    case "tool_use":
      addToolUse(counter, block);
      return;
    case "tool_result":
      counter.addTokens(TOOL_CALL_TOKENS);
      addContent(counter, block.content, hasPatches);
      return;
    default:
      counter.note("remote");
      addJsonTokens(counter, block);
  }
}

function addToolUse(counter: InputTokenCounter, block: JsonObject): void {
  counter.addTokens(TOOL_CALL_TOKENS);
  addTextTokens(counter, block.name);
  addJsonTokens(counter, block.input);
}

function addDocument(counter: InputTokenCounter, block: JsonObject, hasPatches: boolean): void {
  addTextTokens(counter, block.title);
  addTextTokens(counter, block.context);
  const source = block.source;
  if (!isJsonObject(source)) return;
  if (source.type === "text") addTextTokens(counter, source.data);
  else if (source.type === "content") addContent(counter, source.content, hasPatches);
  else addPages(counter, source);
}

function addPages(counter: InputTokenCounter, source: JsonObject): void {
  counter.note("document");
  counter.addTokens(documentTokens(source.data, PAGE_TOKENS));
}

function addFormat(counter: InputTokenCounter, format: unknown): void {
  if (!isJsonObject(format)) return;
  counter.addTokens(FORMAT_TOKENS);
  addJsonTokens(counter, format.schema);
}

function addTools(counter: InputTokenCounter, body: JsonObject): void {
  const { tools, model } = body;
  if (!isNonEmptyArray(tools)) return;
  counter.note("tools");
  counter.addTokens(toolsPromptTokens(typeof model === "string" ? model : ""));
  const choice = isJsonObject(body.tool_choice) ? body.tool_choice.type : undefined;
  if (choice === "any" || choice === "tool") counter.addTokens(DEMANDED_TOOL_TOKENS);
  for (const tool of tools) {
    if (!isJsonObject(tool) || tool.defer_loading === true) continue;
    const type = typeof tool.type === "string" ? tool.type : "custom";
    if (type === "custom") {
      counter.addTokens(TOOL_TOKENS);
      addJsonTokens(counter, tool);
    } else {
      counter.note("remote");
      counter.addTokens(hostedToolTokens(type));
    }
  }
}

/** Fit over 118 recorded calls with tools; the documentation's numbers, where it has them, are within 20. */
function toolsPromptTokens(model: string): number {
  const version = claudeVersionOf(model);
  if (version === undefined || version >= 4.5) return 470;
  return version >= 4 ? 285 : 245;
}

function hostedToolTokens(type: string): number {
  if (type.startsWith("tool_search_")) return TOOL_SEARCH_TOKENS;
  return type.startsWith("web_") ? SEARCH_TOKENS : HOSTED_TOOL_TOKENS;
}
