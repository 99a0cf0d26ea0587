import { addJsonTokens, addTextTokens } from "../../core/estimate/json-tokens.ts";
import type { TextTokenCounter } from "../../core/estimate/text-tokens.ts";
import { isJsonObject, isNonEmptyArray, type JsonObject } from "../http/body-json.ts";

/*
 * OpenAI writes tools into the prompt as declarations; these are the costs of their frames, from OpenAI's own recipe for counting
 * (cookbook, "How to count tokens with tiktoken", section on tool calls).
 */
const TOOLS_TOKENS = 12;
const FUNCTION_TOKENS = 7;
const PROPERTIES_TOKENS = 3;
const PROPERTY_TOKENS = 3;
const ENUM_TOKENS = -3;
const ENUM_ITEM_TOKENS = 3;

/** Adds the declarations of `tools` (either API) or of the older `functions`. */
export function addToolTokens(counter: TextTokenCounter, tools: unknown): void {
  if (!isNonEmptyArray(tools)) return;
  counter.addTokens(TOOLS_TOKENS);
  for (const tool of tools) {
    if (!isJsonObject(tool)) continue;
    const declared = isJsonObject(tool.function) ? tool.function : tool;
    counter.addTokens(FUNCTION_TOKENS);
    addTextTokens(counter, declared.name);
    addTextTokens(counter, declared.description);
    if (isJsonObject(declared.parameters)) addSchemaTokens(counter, declared.parameters);
    else if (declared.name === undefined) addJsonTokens(counter, declared);
  }
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
  for (const key of ["items", "additionalProperties", "not"]) {
    if (isJsonObject(schema[key])) addSchemaTokens(counter, schema[key]);
  }
  for (const key of ["anyOf", "oneOf", "allOf", "prefixItems"]) {
    const variants = schema[key];
    if (!Array.isArray(variants)) continue;
    for (const variant of variants) if (isJsonObject(variant)) addSchemaTokens(counter, variant);
  }
}

function addPropertyTokens(counter: TextTokenCounter, properties: unknown): void {
  if (!isJsonObject(properties)) return;
  counter.addTokens(PROPERTIES_TOKENS);
  for (const [name, property] of Object.entries(properties)) {
    counter.addTokens(PROPERTY_TOKENS);
    addTextTokens(counter, name);
    if (isJsonObject(property)) addSchemaTokens(counter, property);
  }
}
