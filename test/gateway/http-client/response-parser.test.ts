import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../../src/gateway/http-client/client-error.ts";
import type { ResponseHead } from "../../../src/gateway/http-client/response-head.ts";
import { ResponseParser } from "../../../src/gateway/http-client/response-parser.ts";

/** What a parser makes of pieces; `rest`: it saw bytes after the end. */
function parse(pieces: readonly Buffer[], method = "GET", closes = false) {
  const heads: ResponseHead[] = [];
  const data: Buffer[] = [];
  let end: "none" | "clean" | "rest" = "none";
  let lasts = 0;
  const parser = new ResponseParser({
    onHead: (head) => heads.push(head),
    onData: (piece, isLast) => {
      assert.ok(piece.length > 0);
      if (isLast) lasts += 1;
      data.push(piece);
    },
    onEnd: (hasRest) => {
      assert.equal(end, "none");
      end = hasRest ? "rest" : "clean";
    },
  });
  parser.start(method);
  let code = "";
  let isCut = false;
  try {
    for (const piece of pieces) parser.push(piece);
    if (closes) isCut = !parser.finish();
  } catch (error) {
    assert.ok(error instanceof ClientError, String(error));
    code = error.code;
  }
  return {
    status: heads[0]?.status,
    head: heads[0],
    body: Buffer.concat(data).toString("latin1"),
    end,
    lasts,
    code,
    isCut,
  };
}

const bytes = (text: string) => Buffer.from(text, "latin1");
const wire = (...lines: readonly string[]) => lines.join("\r\n");

const VALID: readonly (readonly [string, string, number, string])[] = [
  ["a length", wire("HTTP/1.1 200 OK", "Content-Length: 5", "X-A:  b \t", "", "hello"), 200, "hello"],
  [
    "a body of bare line ends",
    wire("HTTP/1.1 200 OK", "content-length: 7", "", "{\n\ra\n\r}"),
    200,
    "{\n\ra\n\r}",
  ],
  ["no reason and no space before it", wire("HTTP/1.1 200", "content-length:2", "", "ok"), 200, "ok"],
  ["no body at all", wire("HTTP/1.1 204 No Content", "", ""), 204, ""],
  ["a length of nothing", wire("HTTP/1.1 404 ", "content-length: 0", "", ""), 404, ""],
  [
    "chunks",
    wire(
      "HTTP/1.1 200 OK",
      "Transfer-Encoding: chunked",
      "",
      "5",
      "hello",
      'A;x="1"',
      "0123456789",
      "0",
      "",
      "",
    ),
    200,
    "hello0123456789",
  ],
  [
    "chunks with trailers",
    wire(
      "HTTP/1.1 200 OK",
      "transfer-encoding: Chunked",
      "",
      "003",
      "abc",
      "00;last",
      "X-Sum: 1",
      "Y: \t2",
      "",
      "",
    ),
    200,
    "abc",
  ],
  [
    "interim answers",
    wire(
      "HTTP/1.1 100 Continue",
      "",
      "HTTP/1.1 103 Early Hints",
      "Link: </a>",
      "",
      "HTTP/1.1 201 Created",
      "Content-Length: 1",
      "",
      "x",
    ),
    201,
    "x",
  ],
  [
    "high bytes in a value",
    wire("HTTP/1.1 200 \xe9", "X-A: \xff\x80", "content-length: 1", "", "\x00"),
    200,
    "\x00",
  ],
];

test("ResponseParser reads valid answers whole, in single bytes, and split at any place (X3)", () => {
  for (const [name, text, status, body] of VALID) {
    const all = bytes(text);
    const splits = Array.from({ length: all.length }, (_, at) => [all.subarray(0, at), all.subarray(at)]);
    for (const pieces of [[all], [...all].map((byte) => Buffer.of(byte)), ...splits]) {
      const found = parse(pieces);
      assert.equal(found.code, "", name);
      assert.deepEqual([found.status, found.body, found.end], [status, body, "clean"], name);
    }
  }
});

test("ResponseParser counts only the head as head where it comes in parts, whatever comes behind it (S1)", () => {
  const body = "\n".repeat(70_000);
  const all = wire("HTTP/1.1 200 OK", `content-length: ${body.length}`, "", body);
  for (const at of [1, 20, 40]) {
    const { code, end, body: read } = parse([bytes(all.slice(0, at)), bytes(all.slice(at))]);
    assert.deepEqual([code, end, read.length], ["", "clean", body.length], `cut at ${at}`);
  }
});

test("ResponseParser takes a body without a length until the server closes (X3)", () => {
  const text = bytes(wire("HTTP/1.1 200 OK", "", "all of it"));
  for (let at = 0; at <= text.length; at++) {
    const found = parse([text.subarray(0, at), text.subarray(at)], "GET", true);
    assert.deepEqual([found.body, found.end, found.isCut], ["all of it", "rest", false]);
  }
});

test("ResponseParser knows a cut answer from a whole one (S2)", () => {
  for (const [name, text] of VALID) {
    const all = bytes(text);
    for (let at = 0; at < all.length; at++) {
      const found = parse([all.subarray(0, at)], "GET", true);
      assert.deepEqual([found.end, found.isCut, found.code], ["none", true, ""], `${name} cut at ${at}`);
    }
  }
});

test("ResponseParser expects no body for HEAD, 204 and 304, whatever their headers say (X3)", () => {
  const head = (status: number, field: string) => bytes(wire(`HTTP/1.1 ${status} X`, field, "", ""));
  for (const field of ["content-length: 5", "transfer-encoding: chunked", "x-a: b"]) {
    assert.equal(parse([head(200, field)], "HEAD").end, "clean");
    assert.equal(parse([head(304, field)]).end, "clean");
    assert.equal(parse([head(204, field)]).end, "clean");
  }
  assert.equal(parse([head(200, "content-length: 5")]).end, "none");
});

test("ResponseParser marks the last piece of a body with a length, and only that one (S1)", () => {
  const text = bytes(wire("HTTP/1.1 200 OK", "content-length: 5", "", "hello"));
  for (let at = 0; at < text.length; at++)
    assert.equal(parse([text.subarray(0, at), text.subarray(at)]).lasts, 1);
});

const withHead = (...fields: readonly string[]) => wire("HTTP/1.1 200 OK", ...fields, "", "");
const chunked = (...lines: readonly string[]) =>
  wire("HTTP/1.1 200 OK", "transfer-encoding: chunked", "", ...lines);
const manyFields = (count: number) =>
  withHead(...Array.from({ length: count }, (_, i) => `x-${i}: y`), "content-length: 0");

const HOSTILE: readonly (readonly [string, string, string])[] = [
  ["not HTTP at all", "220 mail.example.org ESMTP\r\n", "not_http"],
  ["HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\n", "not_http"],
  ["another version", "HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n", "not_http"],
  ["a lower-case version", "http/1.1 200 OK\r\n\r\n", "not_http"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "not_http"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "not_http"],
  ["a status below 100", "HTTP/1.1 099 OK\r\n\r\n", "not_http"],
  ["a signed status", "HTTP/1.1 +20 OK\r\n\r\n", "not_http"],
  ["two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", "not_http"],
  ["a control character in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "not_http"],
  ["bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 0\n\n", "not_http"],
  ["a bare line feed between fields", "HTTP/1.1 200 OK\r\nx-a: b\ncontent-length: 0\r\n\r\n", "not_http"],
  ["a bare CR in a value", "HTTP/1.1 200 OK\r\nx-a: b\rcontent-length: 0\r\n\r\n", "not_http"],
  ["a NUL in a value", withHead("x-a: b\x00c"), "not_http"],
  ["a folded line", withHead("x-a: b", " c: d"), "not_http"],
  ["a space before the colon", withHead("content-length : 0"), "not_http"],
  ["a name with a space", withHead("content length: 0"), "not_http"],
  ["no name", withHead(": 0"), "not_http"],
  ["no colon", withHead("content-length"), "not_http"],
  ["a name with high bytes", withHead("x-\xe9: 0"), "not_http"],
  ["two equal lengths", withHead("content-length: 0", "Content-Length: 0"), "not_http"],
  ["two lengths", withHead("content-length: 1", "content-length: 2"), "not_http"],
  ["two lengths in one field", withHead("content-length: 1, 1"), "not_http"],
  ["a negative length", withHead("content-length: -1"), "not_http"],
  ["a signed length", withHead("content-length: +1"), "not_http"],
  ["a hexadecimal length", withHead("content-length: 0x10"), "not_http"],
  ["a fractional length", withHead("content-length: 1e3"), "not_http"],
  ["no digits for a length", withHead("content-length:"), "not_http"],
  ["a huge length", withHead("content-length: 18446744073709551617"), "not_http"],
  ["a length and chunks", withHead("content-length: 5", "transfer-encoding: chunked"), "not_http"],
  ["chunks and a length", withHead("transfer-encoding: chunked", "content-length: 5"), "not_http"],
  ["chunked twice", withHead("transfer-encoding: chunked", "transfer-encoding: chunked"), "not_http"],
  ["another transfer encoding", withHead("transfer-encoding: gzip, chunked"), "not_http"],
  ["an unknown transfer encoding", withHead("transfer-encoding: xchunked"), "not_http"],
  ["identity", withHead("transfer-encoding: identity"), "not_http"],
  ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "not_http"],
  ["a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "not_http"],
  ["interim answers without end", "HTTP/1.1 100 Continue\r\n\r\n".repeat(17), "not_http"],
  ["too many fields", manyFields(256), "head_too_large"],
  ["a field too large", withHead(`x-a: ${"y".repeat(65_536)}`), "head_too_large"],
  ["a status line without end", `HTTP/1.1 200 ${"O".repeat(70_000)}`, "head_too_large"],
  ["no chunk size", chunked("", "abc"), "not_http"],
  ["a chunk size that is none", chunked("xyz", "abc"), "not_http"],
  ["a negative chunk size", chunked("-1", "abc"), "not_http"],
  ["a prefixed chunk size", chunked("0x3", "abc"), "not_http"],
  ["a space after a chunk size", chunked("3 ", "abc"), "not_http"],
  ["a huge chunk size", chunked("ffffffffffffffff", "abc"), "not_http"],
  ["a chunk longer than it says", chunked("3", "abcd", "0", "", ""), "not_http"],
  [
    "a chunk that ends in a line feed",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
    "not_http",
  ],
  [
    "a chunk size that ends in a line feed",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "not_http",
  ],
  [
    "an extension that ends in a line feed",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
    "not_http",
  ],
  ["an extension without end", chunked(`3;${"x".repeat(2_000)}`), "not_http"],
  ["trailers without end", chunked("0", ...Array.from({ length: 20_000 }, () => "x: y")), "not_http"],
  ["a trailer with a bare CR", chunked("0", "x: y\rz: a", "", ""), "not_http"],
  [
    "a bare CR at the end of chunks",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\rX",
    "not_http",
  ],
];

test("ResponseParser refuses what two parsers could read in two ways (X3)", () => {
  for (const [name, text, code] of HOSTILE) {
    const all = bytes(text);
    assert.equal(parse([all]).code, code, name);
    const halves = [all.subarray(0, all.length >> 1), all.subarray(all.length >> 1)];
    assert.equal(parse(halves).code, code, `${name}, in halves`);
    const singles = Array.from(all, (byte) => Buffer.of(byte));
    assert.equal(parse(singles).code, code, `${name}, in single bytes`);
  }
  assert.equal(parse([bytes(manyFields(255))]).code, "");
});

test("ResponseParser tells of bytes after the end of an answer (X3)", () => {
  for (const [name, text] of VALID) {
    assert.equal(parse([bytes(`${text}H`)]).end, "rest", name);
  }
});

test("ResponseParser reads whether and how long a connection lives (X3)", () => {
  const head = (first: string, ...fields: readonly string[]) =>
    parse([bytes(wire(first, ...fields, "content-length: 0", "", ""))]).head;
  assert.equal(head("HTTP/1.1 200 OK")?.keepsAlive, true);
  assert.equal(head("HTTP/1.0 200 OK", "connection: keep-alive")?.keepsAlive, false);
  assert.equal(head("HTTP/1.1 200 OK", "Connection: Close")?.keepsAlive, false);
  assert.equal(head("HTTP/1.1 200 OK", "connection: x", "connection: y , close")?.keepsAlive, false);
  assert.equal(head("HTTP/1.1 200 OK", "connection: closed")?.keepsAlive, true);
  assert.equal(head("HTTP/1.1 200 OK", "Keep-Alive: max=3, timeout=5")?.keepAliveMs, 5_000);
  assert.equal(head("HTTP/1.1 200 OK", "keep-alive: xtimeout=5")?.keepAliveMs, undefined);
});

test("ResponseParser looks at nothing more once it is told to stop, also in the middle of its events (Q5)", () => {
  const text = bytes(chunked("1", "a", "1", "b", "0", "", ""));
  let pieces = 0;
  const parser: ResponseParser = new ResponseParser({
    onHead: () => {},
    onData: () => {
      pieces += 1;
      parser.stop();
    },
    onEnd: () => assert.fail("stopped"),
  });
  parser.start("GET");
  parser.push(text);
  assert.equal(pieces, 1);
});
