import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePlainHead } from "../../../src/gateway/http-server/plain-head.ts";

const head = (...lines: string[]) => `${lines.join("\r\n")}\r\n`;

test("parsePlainHead reads what SDKs send, names in lower case, values without the blanks around them", () => {
  const parsed = parsePlainHead(
    head(
      "POST /v1/chat/completions?x=1 HTTP/1.1",
      "Host: localhost:8080",
      "Authorization:Bearer k",
      "X-Note: \t two words\t ",
      "x-empty:",
      "Content-Length: 12",
      "Connection: Keep-Alive",
    ),
  );
  assert.deepEqual(
    [parsed?.method, parsed?.url, parsed?.bodyBytes],
    ["POST", "/v1/chat/completions?x=1", 12],
  );
  assert.deepEqual(parsed?.headers.raw, [
    "host",
    "localhost:8080",
    "authorization",
    "Bearer k",
    "x-note",
    "two words",
    "x-empty",
    "",
    "content-length",
    "12",
    "connection",
    "Keep-Alive",
  ]);
  assert.equal(parsed?.headers.get("x-note"), "two words");
  assert.equal(parsed?.headers.get("x-other"), undefined);
});

test("RequestHeaders get joins a field that stands several times", () => {
  const parsed = parsePlainHead(head("GET / HTTP/1.1", "host: x", "a: 1", "A: 2"));
  assert.equal(parsed?.headers.get("a"), "1, 2");
});

const POST = "POST /v1/x HTTP/1.1";
const UNUSUAL: Readonly<Record<string, string>> = {
  "a version of its own": head("GET / HTTP/1.0", "host: x"),
  "another method": head("PUT / HTTP/1.1", "host: x"),
  "a method in small letters": head("post / HTTP/1.1", "host: x"),
  "an absolute target": head("GET http://x/ HTTP/1.1", "host: x"),
  "a target with a space": head("GET /a b HTTP/1.1", "host: x"),
  "a target beyond ASCII": head("GET /\xe4 HTTP/1.1", "host: x"),
  "a control character in the target": head("GET /a\x01 HTTP/1.1", "host: x"),
  "two spaces": head("GET  / HTTP/1.1", "host: x"),
  "no host": head("GET / HTTP/1.1", "a: b"),
  "two hosts": head("GET / HTTP/1.1", "host: x", "host: x"),
  "two lengths": head(POST, "host: x", "content-length: 1", "content-length: 1"),
  "a length with a sign": head(POST, "host: x", "content-length: +1"),
  "a length of nothing": head(POST, "host: x", "content-length:"),
  "a list of lengths": head(POST, "host: x", "content-length: 1, 1"),
  "a length beyond all bodies": head(POST, "host: x", "content-length: 10000000000"),
  "a body of a GET": head("GET / HTTP/1.1", "host: x", "content-length: 1"),
  chunks: head(POST, "host: x", "transfer-encoding: chunked"),
  "an expectation": head(POST, "host: x", "expect: 100-continue"),
  "an upgrade": head(POST, "host: x", "upgrade: h2c"),
  "trailers to come": head(POST, "host: x", "trailer: a"),
  "a connection that ends": head(POST, "host: x", "connection: close"),
  "options of the connection": head(POST, "host: x", "connection: keep-alive, x-private"),
  "a folded field": head(POST, "host: x", "a: b", " c"),
  "a blank before the colon": head(POST, "host: x", "a : b"),
  "a field without a colon": head(POST, "host: x", "abc"),
  "a name of nothing": head(POST, "host: x", ": b"),
  "a name that is no token": head(POST, "host: x", "a(: b"),
  "NUL in a value": head(POST, "host: x", "a: b\0c"),
  "a lone carriage return": head(POST, "host: x", "a: b\rc: d"),
  "a lone line feed": `${POST}\r\nhost: x\na: b\r\n`,
  "too many fields": head(POST, "host: x", ...Array.from({ length: 100 }, (_, i) => `a${i}: b`)),
  nothing: "",
};

test("parsePlainHead leaves whatever can be read in two ways, or seldom comes, to another parser (X3)", () => {
  for (const [title, text] of Object.entries(UNUSUAL)) assert.equal(parsePlainHead(text), undefined, title);
});
