/**
 * `bench/bare-proxy.ts` with the gateway's own HTTP client in place of undici, and nothing else different: what the client costs is what lies between the two.
 *
 *     node bench/programs/own-client-proxy.ts PROVIDER_PORT        prints READY PORT
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { CallController, ResponseHandler } from "../../src/gateway/http-client/call.ts";
import { HttpClient } from "../../src/gateway/http-client/http-client.ts";

const origin = `http://127.0.0.1:${Number(process.argv[2])}`;
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "host",
  "content-length",
  "authorization",
]);
const DEADLINES = { connectMs: 10_000, answerMs: 600_000, idleMs: 600_000 };
const client = new HttpClient({ keepAliveMs: 30_000, connectionsMax: 4_096 });

function requestHeaders(raw: readonly string[]): string[] {
  const headers = ["authorization", "Bearer provider-key"];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase();
    if (!HOP_BY_HOP.has(name)) headers.push(name, raw[i + 1]);
  }
  return headers;
}

class Relay implements ResponseHandler {
  readonly #response: ServerResponse;
  #last: Buffer | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  attach(controller: CallController): void {
    this.#response.on("close", () => controller.abort());
    this.#response.on("drain", () => controller.resume());
    this.#controller = controller;
  }

  #controller: CallController | undefined;

  onSent(): void {}

  onHead(status: number, raw: string[]): void {
    const head: string[] = [];
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i].toLowerCase();
      if (name === "connection" || name === "keep-alive" || name === "transfer-encoding") continue;
      head.push(raw[i], raw[i + 1]);
    }
    this.#response.writeHead(status, head);
  }

  onData(chunk: Buffer, isLast: boolean): void {
    if (isLast) this.#last = chunk;
    else if (!this.#response.write(chunk)) this.#controller?.pause();
  }

  onEnd(): void {
    if (this.#last === undefined) this.#response.end();
    else this.#response.end(this.#last.toString("latin1"), "latin1");
  }

  onError(): void {
    this.#response.destroy();
  }
}

function forward(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const relay = new Relay(response);
  const { url = "/", method = "GET", rawHeaders } = request;
  relay.attach(
    client.send(origin, { path: url, method, headers: requestHeaders(rawHeaders), body }, DEADLINES, relay),
  );
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () =>
    forward(request, response, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)),
  );
});
server.listen(0, "127.0.0.1", 4_096, () => {
  const address = server.address();
  if (address !== null && typeof address === "object") process.stdout.write(`READY ${address.port}\n`);
});
process.once("SIGTERM", () => process.exit(0));
