import type { InputTokenCounter } from "../../core/estimate/input-shape.ts";
import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import type { TextTokenCounter } from "../../core/estimate/text-tokens.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";

/*
 * OpenAI writes tools into the prompt as declarations. The costs of their frames began as OpenAI's own recipe for counting (cookbook, "How to count
 * tokens with tiktoken", section on tool calls), which leaves out what a fit over 232 recorded calls found beside it.
 */
const TOOLS_TOKENS = 8;
const FUNCTION_TOKENS = 7;
/** A function without a description lacks the line of its comment. */
const NO_DESCRIPTION_TOKENS = -2;
const PROPERTIES_TOKENS = 3;
const PROPERTY_TOKENS = 5;
/** The line of a property's comment. */
const PROPERTY_DESCRIPTION_TOKENS = 2;
const ENUM_TOKENS = -3;
const ENUM_ITEM_TOKENS = 3;
/** A list is written as its elements' type and two brackets, without the word. */
const ITEMS_TOKENS = -3;
const VARIANT_TOKENS = 3;

/** The prompt that a search of the web brings (268 in recorded calls of three projects); what it finds comes on top, later, without bound. */
const WEB_SEARCH_TOKENS = 270;
/** Prompts of OpenAI's other tools, and their first findings: 800 to 2,800 in recorded calls. */
const HOSTED_TOOL_TOKENS = 1_100;

/** Adds the declarations of `tools` (either API) or of the older `functions`. */
export function addToolTokens(counter: InputTokenCounter, tools: unknown): void {
  if (!isNonEmptyArray(tools)) return;
  counter.note("tools");
  counter.addTokens(TOOLS_TOKENS);
  for (const tool of tools) {
    if (!isJsonObject(tool)) continue;
    const declared = isJsonObject(tool.function) ? tool.function : tool;
    if (declared.name === undefined) {
      addHostedTool(counter, declared);
      continue;
    }
    counter.addTokens(FUNCTION_TOKENS);
    addTextTokens(counter, declared.name);
    if (typeof declared.description === "string" && declared.description !== "") {
      addTextTokens(counter, declared.description);
    } else counter.addTokens(NO_DESCRIPTION_TOKENS);
    if (isJsonObject(declared.parameters)) addSchemaTokens(counter, declared.parameters);
  }
}

function addHostedTool(counter: InputTokenCounter, tool: JsonObject): void {
  counter.note("remote");
  const isWebSearch = typeof tool.type === "string" && tool.type.startsWith("web_search");
  counter.addTokens(isWebSearch ? WEB_SEARCH_TOKENS : HOSTED_TOOL_TOKENS);
  addJsonTokens(counter, tool);
}

function addSchemaTokens(counter: TextTokenCounter, schema: JsonObject): void {
  addTextTokens(counter, schema.type);
  addTextTokens(counter, schema.description);
  const choices = schema.enum;
  if (isNonEmptyArray(choices)) {
    counter.addTokens(ENUM_TOKENS);
    for (const choice of choices) {
      counter.addTokens(ENUM_ITEM_TOKENS);
      addTextTokens(counter, choice);
    }
  }
  addPropertyTokens(counter, schema.properties);
  addPropertyTokens(counter, schema.$defs);
  if (isJsonObject(schema.items)) counter.addTokens(ITEMS_TOKENS);
  for (const key of ["items", "additionalProperties", "not"]) {
    if (isJsonObject(schema[key])) addSchemaTokens(counter, schema[key]);
  }
  for (const key of ["anyOf", "oneOf", "allOf", "prefixItems"]) {
    const variants = schema[key];
    if (!Array.isArray(variants)) continue;
    for (const variant of variants) {
      counter.addTokens(VARIANT_TOKENS);
      if (isJsonObject(variant)) addSchemaTokens(counter, variant);
    }
  }
}

function addPropertyTokens(counter: TextTokenCounter, properties: unknown): void {
  if (!isJsonObject(properties)) return;
  const entries = Object.entries(properties);
  if (entries.length > 0) counter.addTokens(PROPERTIES_TOKENS);
  for (const [name, property] of entries) {
    counter.addTokens(PROPERTY_TOKENS);
    addTextTokens(counter, name);
    if (!isJsonObject(property)) continue;
    if (property.description !== undefined) counter.addTokens(PROPERTY_DESCRIPTION_TOKENS);
    addSchemaTokens(counter, property);
  }
}
