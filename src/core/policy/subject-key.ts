import type { Attribute, Scope } from "./policy.ts";

/** What of a call limits are counted per and matched by; `account` is `PROVIDER/ACCOUNT`. */
export type Attributes = Readonly<Partial<Record<Attribute, string | undefined>>>;

/** One text for each value, without the separators of a key; lone surrogates too, which would all become the same byte sequence in UTF-8. */
function escaped(value: string): string {
  if (!value.includes("|") && !value.includes("%") && value.isWellFormed()) return value;
  let result = "";
  // By code point: only a lone surrogate comes as one.
  for (const character of value) {
    const code = character.codePointAt(0) ?? 0;
    if (character === "|" || character === "%" || (code >= 0xd800 && code <= 0xdfff)) {
      result += `%${code.toString(16)};`;
    } else {
      result += character;
    }
  }
  return result;
}

/**
 * The key under which a store counts a scope: `user=alice`, `feature=x|user=alice`, `global`. Different scopes never share one, whatever
 * the values hold. `undefined` when the call lacks an attribute: then a limit of this scope does not apply to it. `scope` is sorted.
 */
export function subjectKey(scope: readonly Scope[], attributes: Attributes): string | undefined {
  let key = "";
  for (const part of scope) {
    if (part === "global") {
      key += key === "" ? "global" : "|global";
      continue;
    }
    const value = attributes[part];
    if (value === undefined || value === "") return undefined;
    key += `${key === "" ? "" : "|"}${part}=${escaped(value)}`;
  }
  return key;
}

/** What a key is of, by attribute: the inverse of `subjectKey`. Empty for `global`. */
export function subjectAttributes(key: string): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  for (const part of key.split("|")) {
    const at = part.indexOf("=");
    if (at === -1) continue;
    const value = part.slice(at + 1);
    attributes[part.slice(0, at)] = value.replace(/%([0-9a-f]+);/g, (_, code: string) =>
      String.fromCodePoint(Number.parseInt(code, 16)),
    );
  }
  return attributes;
}
