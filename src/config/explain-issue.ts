import { z } from "zod";
import { closestName } from "./closest-name.ts";
import { fileSchema } from "./file-schema.ts";
import type { Finding } from "./finding.ts";
import type { KeyPath } from "./problem.ts";

type Issue = z.core.$ZodIssue;
type JsonSchema = z.core.JSONSchema.BaseSchema;

let jsonSchema: JsonSchema | undefined;

/** The JSON Schema of the file as it is written; made once, when somebody asks. */
export function fileJsonSchema(): JsonSchema {
  jsonSchema ??= z.toJSONSchema(fileSchema, { io: "input" });
  return jsonSchema;
}

/** The keys that a mapping at the path may have; empty where they are names of the user's choice. */
function keysAt(path: KeyPath): readonly string[] {
  let at: JsonSchema | undefined = fileJsonSchema();
  for (const part of path) {
    if (at === undefined) return [];
    const next: unknown =
      typeof part === "number" ? at.items : (at.properties?.[part] ?? at.additionalProperties);
    at = typeof next === "object" && next !== null ? (next as JsonSchema) : undefined;
  }
  return Object.keys(at?.properties ?? {});
}

const quoted = (text: string) => JSON.stringify(text);

/** Letters: what somebody may have meant as a key. A value that slipped into a key's place (`{ keysk-1a2b }`) has digits as a rule (X1). */
const WORD = /^[A-Za-z][A-Za-z_-]{0,31}$/;

function unknownKey(path: KeyPath, key: string): Finding {
  const allowed = keysAt(path);
  const meant = closestName(key, allowed);
  const isShown = WORD.test(key) || meant !== undefined;
  const name = isShown ? quoted(key) : "(not shown: it may be a value)";
  const hint = meant === undefined ? ";" : `; did you mean ${quoted(meant)}?`;
  return {
    path: [...path, key],
    atKey: true,
    ...(isShown ? {} : { hidesKey: true }),
    message: `unknown key ${name}${hint} allowed: ${allowed.join(", ")}`,
  };
}

/** What a mismatch of types wanted, where the schema says nothing better. */
const WANTED: Readonly<Record<string, string>> = {
  object: "a mapping (key: value)",
  record: "a mapping (name: value)",
  array: "a list",
  string: "a text",
  number: "a number",
};

const CONTAINERS: ReadonlySet<string> = new Set(["object", "record", "array"]);

const isOwnText = (message: string) => !message.startsWith("Invalid ");

/** An issue of the schema in the words of the file: what is allowed there. A strict mapping gives one finding for each unknown key. */
export function explainIssue(issue: Issue, isPresent: (path: KeyPath) => boolean): readonly Finding[] {
  const path = issue.path as KeyPath;
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key));
  const allowed =
    isOwnText(issue.message) || issue.code !== "invalid_type"
      ? issue.message
      : (WANTED[issue.expected] ?? issue.expected);
  if (path.length > 0 && !isPresent(path)) {
    return [{ path, message: `${quoted(String(path.at(-1)))} is missing; it is ${allowed}` }];
  }
  // A text where a mapping belongs may be a key that is out of place.
  const shows = issue.code === "invalid_type" && CONTAINERS.has(issue.expected) ? "kind" : "value";
  return [{ path, shows, message: `allowed: ${allowed}` }];
}
