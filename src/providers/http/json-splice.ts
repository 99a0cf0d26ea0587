import { JsonWatcher } from "./json-watcher.ts";

const INCLUDE_USAGE = '"include_usage":true';
const OPEN_BRACE = 0x7b;

/**
 * `body`, a JSON object that `JSON.parse` has accepted, with `stream_options.include_usage` true; all other bytes stay as they are.
 * `undefined` where it is true already, or where it cannot be done safely (then the call goes out as it came).
 */
export function withUsageIncluded(body: Buffer): Buffer | undefined {
  const options = placeOf(body, "stream_options");
  if (options === undefined)
    return insertMember(body, openBrace(body), `"stream_options":{${INCLUDE_USAGE}}`);
  const text = body.toString("utf8", options.start, options.end);
  if (text === "null") return replaceBytes(body, options.start, options.end, `{${INCLUDE_USAGE}}`);
  if (body[options.start] !== OPEN_BRACE) return undefined;
  const inner = body.subarray(options.start, options.end);
  const include = placeOf(inner, "include_usage");
  if (include === undefined) return insertMember(body, options.start, INCLUDE_USAGE);
  const value = inner.toString("utf8", include.start, include.end);
  if (value !== "false" && value !== "null") return undefined;
  return replaceBytes(body, options.start + include.start, options.start + include.end, "true");
}

/** `body` with its top-level string `model` replaced (a model alias); all other bytes stay as they are. */
export function withModel(body: Buffer, model: string): Buffer {
  const value = placeOf(body, "model");
  return value === undefined ? body : replaceBytes(body, value.start, value.end, JSON.stringify(model));
}

/** The place of a top-level value without the white space around it. */
function placeOf(object: Buffer, key: string): { readonly start: number; readonly end: number } | undefined {
  const watcher = new JsonWatcher({ paths: [key], capture: false });
  watcher.push(object);
  const span = watcher.span(key);
  if (span === undefined) return undefined;
  let { start, end } = span;
  while (start < end && isSpace(object[start] as number)) start++;
  while (end > start && isSpace(object[end - 1] as number)) end--;
  return { start, end };
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function openBrace(body: Buffer): number {
  return body.indexOf(OPEN_BRACE);
}

/** Puts a member first into the object whose brace is at `brace`. */
function insertMember(body: Buffer, brace: number, member: string): Buffer {
  let next = brace + 1;
  while (isSpace(body[next] as number)) next++;
  const isEmpty = body[next] === 0x7d;
  return replaceBytes(body, brace + 1, brace + 1, isEmpty ? member : `${member},`);
}

function replaceBytes(body: Buffer, start: number, end: number, text: string): Buffer {
  return Buffer.concat([body.subarray(0, start), Buffer.from(text), body.subarray(end)]);
}
