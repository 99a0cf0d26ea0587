import { OperationalError } from "../../core/operational-error.ts";
import { type JsonBounds, jsonOverBounds } from "./json-bounds.ts";

export type JsonObject = { readonly [key: string]: unknown };

const BOUNDS: JsonBounds = {
  /** Nothing that a model is asked nests deeper, schemas of tools included; `JSON.parse` needs seconds for millions of brackets. */
  depthMax: 200,
  /** The largest list that a provider takes is of 300,000 model tokens to embed; parsed, a value takes up to 60 bytes and 100 ns. */
  valuesMax: 500_000,
};

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isNonEmptyArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0;
}

/** The body as a JSON object. Throws `OperationalError` `invalid_request` for anything else; never for bytes that are no UTF-8 inside a text. */
export function parseJsonObject(body: Buffer, wording: { readonly notJson: string }): JsonObject {
  const over = jsonOverBounds(body, BOUNDS);
  if (over !== undefined) {
    throw new OperationalError(
      "invalid_request",
      over === "depthMax"
        ? `The body nests deeper than ${BOUNDS.depthMax} levels; at most ${BOUNDS.depthMax} are allowed.`
        : `The body holds more than ${BOUNDS.valuesMax} values; at most ${BOUNDS.valuesMax} are allowed.`,
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
