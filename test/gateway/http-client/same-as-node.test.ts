import assert from "node:assert/strict";
import { request } from "node:http";
import type { Socket } from "node:net";
import { after, test } from "node:test";
import fc from "fast-check";
import { HttpClient } from "../../../src/gateway/http-client/http-client.ts";
import { send } from "../../support/client-call.ts";
import { runs } from "../../support/property.ts";
import { onRequests, startRawServer } from "../../support/raw-server.ts";

interface Answer {
  readonly method: "GET" | "HEAD";
  readonly interim: boolean;
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly framing: "length" | "chunked" | "close";
  readonly pieces: readonly Buffer[];
  readonly trailers: boolean;
  readonly keepsAlive: boolean;
  /** Where the bytes are cut, as shares of their length. */
  readonly cuts: readonly number[];
}

const VALUE = fc.string({
  unit: fc.constantFrom(...'ab ,;="\t\xe9\xff0'.split("")),
  maxLength: 12,
});
const answers: fc.Arbitrary<Answer> = fc.record({
  method: fc.constantFrom("GET", "GET", "GET", "HEAD"),
  interim: fc.boolean(),
  status: fc.constantFrom(200, 200, 201, 204, 304, 404, 429, 529),
  fields: fc.array(
    fc.tuple(fc.constantFrom("x-a", "X-Long-Name", "content-type", "set-cookie", "X-a"), VALUE),
    { maxLength: 5 },
  ),
  framing: fc.constantFrom("length", "chunked", "close"),
  pieces: fc.array(
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 5 },
  ),
  trailers: fc.boolean(),
  keepsAlive: fc.boolean(),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }),
});

function bytesOf(answer: Answer): Buffer {
  const { framing, pieces, method, status } = answer;
  const hasBody = method !== "HEAD" && status !== 204 && status !== 304;
  const body = hasBody ? Buffer.concat(pieces) : Buffer.alloc(0);
  const lines = answer.interim ? ["HTTP/1.1 100 Continue", ""] : [];
  lines.push(`HTTP/1.1 ${status} Reason`, ...answer.fields.map(([name, value]) => `${name}: ${value}`));
  if (framing === "length" && status !== 204) lines.push(`Content-Length: ${body.length}`);
  if (framing === "chunked" && hasBody) lines.push("Transfer-Encoding: chunked");
  if (framing === "close" || !answer.keepsAlive) lines.push("connection: close");
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (!hasBody) return head;
  if (framing !== "chunked") return Buffer.concat([head, body]);
  const chunks = pieces.flatMap((piece) => [
    Buffer.from(`${piece.length.toString(16)};x\r\n`),
    piece,
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([head, ...chunks, Buffer.from(`0\r\n${answer.trailers ? "x-sum: 1\r\n" : ""}\r\n`)]);
}

/** Writes the pieces one turn of the event loop apart, so that the reader has to deal with many of the cuts. */
function write(socket: Socket, answer: Answer): void {
  const bytes = bytesOf(answer);
  const cuts = answer.cuts.map((share) => Math.floor(share * bytes.length)).sort((a, b) => a - b);
  const next = (from: number, at: number) => {
    const to = cuts[at] ?? bytes.length;
    if (to > from) socket.write(bytes.subarray(from, to));
    if (at < cuts.length) setImmediate(next, to, at + 1);
    else if (answer.framing === "close" || !answer.keepsAlive) socket.end();
  };
  next(0, 0);
}

let current: Answer | undefined;
const server = await startRawServer((socket) => {
  socket.setNoDelay(true);
  onRequests(socket, () => write(socket, current!));
});
const client = new HttpClient({ keepAliveMs: 60_000, connectionsMax: 10 });
after(async () => {
  client.close();
  await server.close();
});

const readByNode = ({ method }: Answer) =>
  new Promise<readonly [number, readonly string[], Buffer]>((resolve, reject) => {
    request(server.origin, { method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve([response.statusCode ?? 0, response.rawHeaders, Buffer.concat(chunks)]),
      );
    })
      .on("error", reject)
      .end();
  });

test("HttpClient reads valid answers as node:http does, however they are split, one after the other (S1)", async () => {
  await fc.assert(
    fc.asyncProperty(answers, async (answer) => {
      current = answer;
      const call = await send(client, server.origin, { method: answer.method }).done;
      assert.equal(call.error, undefined);
      assert.deepEqual([call.status, call.headers, call.body], await readByNode(answer));
    }),
    runs(300),
  );
});
