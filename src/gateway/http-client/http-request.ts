import type { Readable } from "node:stream";
import { isAll, TOKEN_CHARS, VALUE_CHARS } from "../field-syntax.ts";
import { ClientError } from "./client-error.ts";

/** A body that is read while it is sent. The client owns the stream from `send` on, and destroys it when the call ends before it. */
export interface StreamBody {
  readonly stream: Readable;
  /** Where known, in bytes; the body is sent in chunks otherwise. */
  readonly length: number | undefined;
}

export type RequestBody = Buffer | StreamBody | null;

export interface HttpRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Lower-case names and values in turn. Framing is not the caller's: `host`, `content-length`, `connection` and such are refused. */
  readonly headers: readonly string[];
  readonly body: RequestBody;
}

/** A token, without capitals: `OWN` is looked up as it stands. */
const NAME_CHARS = TOKEN_CHARS.map((is, code) => (code >= 65 && code <= 90 ? 0 : is));
const METHOD = /^[A-Z]+(?:-[A-Z]+)*$/;
/** In origin form (RFC 9112, section 3.2.1): without spaces and control characters. */
const PATH = /^\/[\x21-\x7e\x80-\xff]*$/;

/** Headers that say where a message ends or whose it is: the client's own. */
const OWN = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "upgrade",
  "te",
  "trailer",
  "expect",
]);

/** Methods whose requests have a body by definition, so that none must be said (RFC 9110, section 8.6). */
const HAS_BODY = new Set(["POST", "PUT", "PATCH"]);

const invalid = (what: string) => new ClientError("invalid_request", `${what} cannot be sent`);

function framing(method: string, body: RequestBody): string {
  if (body === null) return HAS_BODY.has(method) ? "content-length: 0\r\n\r\n" : "\r\n";
  const { length } = body;
  return length === undefined ? "transfer-encoding: chunked\r\n\r\n" : `content-length: ${length}\r\n\r\n`;
}

/**
 * A request's head as it goes out, one character a byte (latin1), with the empty line at its end. Throws `invalid_request` for anything that
 * could be read as more or less than this one request (request smuggling, header injection).
 */
export function requestHead({ method, path, headers, body }: HttpRequest, host: string): string {
  if (!METHOD.test(method) || method === "CONNECT") throw invalid("this method");
  if (!PATH.test(path)) throw invalid("a path with spaces or control characters");
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i];
    const value = headers[i + 1];
    if (name === "" || OWN.has(name) || !isAll(NAME_CHARS, name)) throw invalid("a header of that name");
    if (value === undefined || !isAll(VALUE_CHARS, value)) throw invalid(`that value of the header ${name}`);
    head += `${name}: ${value}\r\n`;
  }
  return head + framing(method, body);
}
