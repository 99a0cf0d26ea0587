import { cwd } from "node:process";
import type { z } from "zod";
import { type CamelCase, camelCase } from "./camel-case.ts";
import { compileSettings } from "./compile-settings.ts";
import { fileJsonSchema } from "./explain-issue.ts";
import type { FileInput } from "./file-schema.ts";
import { asList, asMap } from "./finding.ts";
import { ConfigurationError, formatPath, type KeyPath } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { validate } from "./validate.ts";
import type { Environment } from "./yaml-source.ts";

type CamelKeys<T> = T extends readonly (infer Item)[]
  ? readonly CamelKeys<Item>[]
  : T extends object
    ? { readonly [Key in keyof T as Key extends string ? CamelCase<Key> : Key]: CamelKeys<T[Key]> }
    : T;

/** The structure of `sluice.yaml` in camelCase, for programs. Everything has a default. */
export type SluiceOptions = CamelKeys<FileInput>;

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** Where programs state no store: nobody expects a library to make directories. */
const LIBRARY_STORE = "memory:";

const asSchema = (value: unknown): JsonSchema =>
  typeof value === "object" && value !== null ? (value as JsonSchema) : {};

/** The options with the keys of the file; names of the user's own (plans, providers, aliases) stay as they are. */
function withFileKeys(value: unknown, schema: JsonSchema): unknown {
  if (Array.isArray(value)) return asList(value).map((item) => withFileKeys(item, asSchema(schema.items)));
  if (typeof value !== "object" || value === null) return value;
  const properties = schema.properties ?? {};
  const fileKeys = new Map(Object.keys(properties).map((key) => [camelCase(key), key]));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => {
        const fileKey = fileKeys.get(key) ?? key;
        return [fileKey, withFileKeys(item, asSchema(properties[fileKey] ?? schema.additionalProperties))];
      }),
  );
}

/** A path in the file as one in the options. */
function optionsPath(path: KeyPath): string {
  let schema = fileJsonSchema();
  const parts = path.map((part) => {
    const properties = schema.properties ?? {};
    const isOwnKey = typeof part === "string" && Object.hasOwn(properties, part);
    schema = asSchema(
      typeof part === "number" ? schema.items : (properties[part] ?? schema.additionalProperties),
    );
    return isOwnKey ? camelCase(part) : part;
  });
  return formatPath(parts);
}

/**
 * The settings that options mean: the same checks as a file's, except that callers are named by the program, so that nothing can be said about
 * which of them there are. Throws `ConfigurationError`.
 */
export function settingsFromOptions(options: SluiceOptions, environment: Environment): Settings {
  const raw = asMap(withFileKeys(options, fileJsonSchema()));
  const { file, errors, warnings } = validate(raw, "options");
  const problemOf = ({ path, message }: { readonly path: KeyPath; readonly message: string }) => ({
    file: undefined,
    line: undefined,
    column: undefined,
    key: optionsPath(path),
    message,
  });
  if (file === undefined) throw new ConfigurationError(errors.map(problemOf));
  const origin = { name: "options", directory: cwd(), storeDefault: LIBRARY_STORE };
  return compileSettings(file, origin, environment, warnings.map(problemOf));
}
