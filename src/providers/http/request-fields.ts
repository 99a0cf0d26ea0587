import { OperationalError } from "../../core/operational-error.ts";
import type { JsonObject } from "./body-json.ts";

/** Longest model name that is believed: fine-tuned names reach about 100 characters; names become labels and keys (X5). */
const MODEL_CHARS_MAX = 256;

/** How a provider words what is wrong with a field. */
export interface FieldWording {
  readonly noModel: string;
  notA(field: string, expected: string, got: string): string;
  belowOne(field: string, got: string): string;
}

/** The model's name. Throws `invalid_request` when it is absent, empty, too long or no string. */
export function modelOf(body: JsonObject, wording: FieldWording): string {
  const model = body.model;
  if (model === undefined || model === null || model === "") throw invalid(wording.noModel);
  if (typeof model !== "string") throw invalid(wording.notA("model", "string", typeName(model)));
  if (model.length > MODEL_CHARS_MAX) {
    throw invalid(
      wording.notA("model", `string of at most ${MODEL_CHARS_MAX} characters`, `${model.length} characters`),
    );
  }
  return model;
}

/** A whole number of at least one; absent when it is absent or null. Throws `invalid_request` naming the field otherwise. */
export function countOf(body: JsonObject, field: string, wording: FieldWording): number | undefined {
  const value = body[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw invalid(wording.notA(field, "integer", typeof value === "number" ? "number" : typeName(value)));
  }
  if (value < 1) throw invalid(wording.belowOne(field, String(value)));
  return value;
}

/** `stream`; null counts as absent. Throws `invalid_request` for what is no boolean, as whether the answer is a stream would be a guess. */
export function streamOf(body: JsonObject, wording: FieldWording): boolean {
  const value = body.stream;
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw invalid(wording.notA("stream", "boolean", typeName(value)));
  return value;
}

/** Product of a maximum and the number of answers, within what an integer holds. */
export function cappedProduct(tokens: number | undefined, answers: number): number | undefined {
  return tokens === undefined ? undefined : Math.min(tokens * answers, Number.MAX_SAFE_INTEGER);
}

function invalid(message: string): OperationalError {
  return new OperationalError("invalid_request", message);
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}
