import type { TextTokenCounter } from "./text-tokens.ts";

/** Punctuation of a member or an element: the quotes, colon and comma around it mostly merge into about two tokens. */
const MEMBER_TOKENS = 2;
/** A number or a literal: short ones are one token, long ones a token per three digits; two is the middle. */
const LITERAL_TOKENS = 2;

/** Members that models do not read as text: binary content, signatures, what only the provider can decrypt, cache marks. */
const UNREAD_MEMBERS: ReadonlySet<string> = new Set([
  "data",
  "file_data",
  "signature",
  "encrypted_content",
  "encrypted_index",
  "cache_control",
  "strict",
]);

/** Counts a JSON value as a model sees it when it is printed: keys, texts, punctuation. The caller bounds the nesting. */
export function addJsonTokens(counter: TextTokenCounter, value: unknown): void {
  if (typeof value === "string") {
    if (value.startsWith("data:")) return;
    counter.breakText();
    counter.addText(value);
    return;
  }
  if (typeof value !== "object" || value === null) {
    counter.addTokens(LITERAL_TOKENS);
    return;
  }
  if (Array.isArray(value)) {
    for (const element of value) {
      counter.addTokens(1);
      addJsonTokens(counter, element);
    }
    return;
  }
  for (const key of Object.keys(value)) {
    if (UNREAD_MEMBERS.has(key)) continue;
    counter.breakText();
    counter.addText(key);
    counter.addTokens(MEMBER_TOKENS);
    addJsonTokens(counter, (value as Record<string, unknown>)[key]);
  }
}

/** Counts a text that stands on its own; anything else counts nothing. */
export function addTextTokens(counter: TextTokenCounter, value: unknown): void {
  if (typeof value !== "string") return;
  counter.breakText();
  counter.addText(value);
}
