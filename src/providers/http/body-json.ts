import { OperationalError } from "../../core/operational-error.ts";
import { nestsDeeperThan } from "./json-depth.ts";

export type JsonObject = { readonly [key: string]: unknown };

/** Nothing that a model is asked nests deeper, schemas of tools included; `JSON.parse` needs seconds for millions of brackets. */
const NESTING_MAX = 200;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isNonEmptyArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0;
}

/** The body as a JSON object. Throws `OperationalError` `invalid_request` for anything else; never for bytes that are no UTF-8 inside a text. */
export function parseJsonObject(body: Buffer, wording: { readonly notJson: string }): JsonObject {
  if (nestsDeeperThan(body, NESTING_MAX)) {
    throw new OperationalError(
      "invalid_request",
      `The body nests deeper than ${NESTING_MAX} levels; at most ${NESTING_MAX} are allowed.`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (cause) {
    throw new OperationalError("invalid_request", wording.notJson, { cause });
  }
  if (!isJsonObject(value)) throw new OperationalError("invalid_request", wording.notJson);
  return value;
}
