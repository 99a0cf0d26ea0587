import { TOKEN_CHARS, VALUE_CHARS } from "../field-syntax.ts";
import { ClientError } from "./client-error.ts";

/** How the end of a body is known. */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export interface ResponseHead {
  readonly status: number;
  /** Names as the server wrote them, and values, in turn. */
  readonly headers: string[];
  readonly framing: BodyFraming;
  /** Whether the connection may carry another call. */
  readonly keepsAlive: boolean;
  /** How long the server says that it keeps an idle connection (`keep-alive: timeout=`). */
  readonly keepAliveMs: number | undefined;
}

/** Providers send some 30; a name and a value are two entries. */
const FIELDS_MAX = 256;
/** RFC 9112, section 4; some servers leave out the space before an empty reason. */
const STATUS_LINE = /^HTTP\/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** Fifteen digits are exact in a double, and a petabyte. */
const LENGTH = /^[0-9]{1,15}$/;
const TIMEOUT = /(?:^|[\s,;])timeout=([0-9]{1,9})\b/i;

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const ZERO = 48;
const COLON = 58;
/** In `HTTP/1.x`. */
const MINOR_VERSION_AT = 7;
const isBlank = (code: number) => code === SPACE || code === TAB;
const NO_BODY: BodyFraming = { kind: "none" };
const CHUNKED: BodyFraming = { kind: "chunked" };
const UNTIL_CLOSE: BodyFraming = { kind: "until-close" };

const notHttp = (what: string) => new ClientError("not_http", `the answer is not HTTP: ${what}`);

/** What of the fields is about the connection and the body's length. */
interface Framing {
  length: string | undefined;
  encoding: string | undefined;
  connection: string;
  keepAlive: string | undefined;
}

function statusOf(line: string): number {
  if (!STATUS_LINE.test(line)) throw notHttp("no status line");
  return Number(line.slice(9, 12));
}

/** Only names of these lengths matter for framing, so no other is looked at. */
function note(framing: Framing, name: string, value: string): void {
  switch (name.length) {
    case 10: {
      const lower = name.toLowerCase();
      // What most servers say, and what is so anyway.
      if (lower === "connection" && value !== "keep-alive") framing.connection += `,${value}`;
      else if (lower === "keep-alive") framing.keepAlive = value;
      return;
    }
    case 14:
      if (name.toLowerCase() !== "content-length") return;
      if (framing.length !== undefined) throw notHttp("two lengths");
      if (!LENGTH.test(value)) throw notHttp("not a length");
      framing.length = value;
      return;
    case 17:
      if (name.toLowerCase() !== "transfer-encoding") return;
      if (framing.encoding !== undefined) throw notHttp("two transfer encodings");
      framing.encoding = value.toLowerCase();
      return;
  }
}

function bodyFraming(framing: Framing, status: number, isHttp10: boolean, method: string): BodyFraming {
  const { length, encoding } = framing;
  if (encoding !== undefined) {
    if (length !== undefined) throw notHttp("a length and a transfer encoding");
    if (encoding !== "chunked" || isHttp10) throw notHttp("a transfer encoding other than chunked");
  }
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return NO_BODY;
  if (encoding !== undefined) return CHUNKED;
  if (length === undefined) return UNTIL_CLOSE;
  return length === "0" ? NO_BODY : { kind: "length", bytes: Number(length) };
}

const hasOption = (list: string, option: string) =>
  list !== "" &&
  list
    .toLowerCase()
    .split(",")
    .some((each) => each.trim() === option);

function keepAliveMsOf(value: string | undefined): number | undefined {
  const seconds = value === undefined ? undefined : TIMEOUT.exec(value)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1_000;
}

/** Reads the field lines of a head from `at` on; every line ends in CRLF. */
function readFields(head: string, at: number, headers: string[], framing: Framing): void {
  while (at < head.length) {
    let i = at;
    while (TOKEN_CHARS[head.charCodeAt(i)] === 1) i += 1;
    // A folded line begins with a space, which is in no name.
    if (i === at || head.charCodeAt(i) !== COLON) throw notHttp("a broken header");
    const name = head.slice(at, i);
    do i += 1;
    while (isBlank(head.charCodeAt(i)));
    const start = i;
    let end = i;
    for (let code = head.charCodeAt(i); VALUE_CHARS[code] === 1; code = head.charCodeAt(++i)) {
      if (!isBlank(code)) end = i + 1;
    }
    if (head.charCodeAt(i) !== CR || head.charCodeAt(i + 1) !== LF) throw notHttp("a broken header");
    const value = head.slice(start, end);
    if (headers.push(name, value) > 2 * FIELDS_MAX) throw tooLarge();
    note(framing, name, value);
    at = i + 2;
  }
}

/**
 * Parses a head, one character a byte: all lines with their CRLF, without the empty one. `method` is the request's. Strict: what two parsers
 * could read in two ways is `not_http` (RFC 9112, sections 2.2, 5.2, 6.3). Throws `head_too_large`, too.
 */
export function parseHead(head: string, method: string): ResponseHead {
  const lineEnd = head.indexOf("\r\n");
  const status = statusOf(head.slice(0, lineEnd));
  const isHttp10 = head.charCodeAt(MINOR_VERSION_AT) === ZERO;
  const headers: string[] = [];
  const framing: Framing = { length: undefined, encoding: undefined, connection: "", keepAlive: undefined };
  readFields(head, lineEnd + 2, headers, framing);
  return {
    status,
    headers,
    framing: bodyFraming(framing, status, isHttp10, method),
    keepsAlive: !isHttp10 && !hasOption(framing.connection, "close"),
    keepAliveMs: keepAliveMsOf(framing.keepAlive),
  };
}

export const tooLarge = () => new ClientError("head_too_large", "the answer's head is too large");
