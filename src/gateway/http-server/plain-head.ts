import { TOKEN_CHARS, VALUE_CHARS } from "../field-syntax.ts";
import { RequestHeaders } from "./request-headers.ts";

/** The head of a request that can be read in one way only. */
export interface PlainHead {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: RequestHeaders;
  /** Length of the body that follows. */
  readonly bodyBytes: number;
}

/** Clients send some 20, behind a few proxies 40. */
const FIELDS_MAX = 100;
/** Nine digits are more than any body that is let in. */
const LENGTH = /^[0-9]{1,9}$/;

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const EXCLAMATION_MARK = 0x21;
const SLASH = 0x2f;
const COLON = 0x3a;
const TILDE = 0x7e;
const isBlank = (code: number) => code === SPACE || code === TAB;
const isUpper = (code: number) => code >= 0x41 && code <= 0x5a;

const VERSION = " HTTP/1.1\r\n";

/** Fields that change how a message is read, or ask for something before the answer: not for this parser. */
const UNUSUAL: ReadonlySet<string> = new Set(["transfer-encoding", "expect", "upgrade", "trailer", "te"]);

/** Where the request's target ends; -1 when it is not one in origin form (RFC 9112, section 3.2.1). */
function targetEnd(head: string, from: number): number {
  if (head.charCodeAt(from) !== SLASH) return -1;
  let at = from;
  for (let code = head.charCodeAt(at); code >= EXCLAMATION_MARK && code <= TILDE; )
    code = head.charCodeAt(++at);
  return head.startsWith(VERSION, at) ? at : -1;
}

/** Reads all field lines from `at` on into `fields`, names in lower case; false for anything unusual. */
function readFields(head: string, from: number, fields: string[]): boolean {
  let at = from;
  while (at < head.length) {
    let i = at;
    let hasUpper = false;
    for (let code = head.charCodeAt(i); TOKEN_CHARS[code] === 1; code = head.charCodeAt(++i)) {
      hasUpper ||= isUpper(code);
    }
    if (i === at || head.charCodeAt(i) !== COLON) return false;
    const name = head.slice(at, i);
    do i += 1;
    while (isBlank(head.charCodeAt(i)));
    const start = i;
    let end = i;
    for (let code = head.charCodeAt(i); VALUE_CHARS[code] === 1; code = head.charCodeAt(++i)) {
      if (!isBlank(code)) end = i + 1;
    }
    if (head.charCodeAt(i) !== CR || head.charCodeAt(i + 1) !== LF) return false;
    if (fields.push(hasUpper ? name.toLowerCase() : name, head.slice(start, end)) > 2 * FIELDS_MAX)
      return false;
    at = i + 2;
  }
  return true;
}

/** The length of the body; -1 where the fields say anything else than one host, at most one length, and a connection that stays. */
function bodyLength(fields: readonly string[]): number {
  let hosts = 0;
  let length: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if (name === "host") hosts += 1;
    else if (name === "content-length") {
      if (length !== undefined) return -1;
      length = fields[i + 1];
    } else if (name === "connection") {
      if (fields[i + 1].toLowerCase() !== "keep-alive") return -1;
    } else if (UNUSUAL.has(name)) return -1;
  }
  if (hosts !== 1) return -1;
  if (length === undefined) return 0;
  return LENGTH.test(length) ? Number(length) : -1;
}

/**
 * Reads a head, one character a byte: all lines with their CRLF, without the empty one. Stricter than RFC 9112 asks for: whatever two parsers could read in two ways, or
 * seldom comes, is `undefined`, for a parser that knows all of HTTP. Pure.
 */
export function parsePlainHead(head: string): PlainHead | undefined {
  const method = head.startsWith("POST ") ? "POST" : head.startsWith("GET ") ? "GET" : undefined;
  if (method === undefined) return undefined;
  const from = method.length + 1;
  const end = targetEnd(head, from);
  if (end === -1) return undefined;
  const fields: string[] = [];
  if (!readFields(head, end + VERSION.length, fields)) return undefined;
  const bodyBytes = bodyLength(fields);
  if (bodyBytes === -1 || (method === "GET" && bodyBytes > 0)) return undefined;
  return { method, url: head.slice(from, end), headers: new RequestHeaders(fields), bodyBytes };
}
