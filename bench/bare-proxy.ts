/**
 * The least that a proxy in Node does: `node:http` in front, undici behind, the provider's key in place of the client's, no limits, no metering. What it
 * costs is the budget that the gateway starts from. `FINDINGS-bare-proxy.md` tells what makes it cheaper.
 *
 *     node bench/bare-proxy.ts PROVIDER_PORT        prints READY PORT
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Client, type Dispatcher } from "undici";

const origin = `http://127.0.0.1:${Number(process.argv[2])}`;
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "host",
  "content-length",
  "authorization",
]);
const idle: Client[] = [];

function requestHeaders(raw: readonly string[]): string[] {
  const headers = ["authorization", "Bearer provider-key"];
  for (let i = 0; i < raw.length; i += 2) {
    if (!HOP_BY_HOP.has(raw[i].toLowerCase())) headers.push(raw[i], raw[i + 1]);
  }
  return headers;
}

/** Passes one answer on; one that comes whole is written at once, head and body. */
class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #client: Client;
  /** The body so far, while all of it may still come in one piece. */
  #held: Buffer | undefined;
  #isStreamed = false;
  #bytesMissing = Number.NaN;
  #head: string[] = [];
  #status = 0;

  constructor(response: ServerResponse, client: Client) {
    this.#response = response;
    this.#client = client;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#response.on("close", () => {
      if (!this.#response.writableFinished) controller.abort(new Error("the client went away"));
    });
    this.#response.on("drain", () => controller.resume());
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#status = status;
    for (const name in headers) {
      const value = headers[name];
      if (name === "connection" || name === "keep-alive" || name === "transfer-encoding") continue;
      for (const one of Array.isArray(value) ? value : [value ?? ""]) this.#head.push(name, one);
    }
    this.#bytesMissing = Number(headers["content-length"]);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#isStreamed && chunk.length === this.#bytesMissing) {
      this.#held = chunk;
      return;
    }
    this.#stream();
    if (!this.#response.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    idle.push(this.#client);
    if (this.#held === undefined) {
      this.#stream();
      this.#response.end();
      return;
    }
    this.#response.writeHead(this.#status, this.#head);
    this.#response.end(this.#held.toString("latin1"), "latin1");
  }

  onResponseError(): void {
    void this.#client.destroy();
    this.#response.destroy();
  }

  #stream(): void {
    if (this.#isStreamed) return;
    this.#isStreamed = true;
    this.#response.writeHead(this.#status, this.#head);
  }
}

function forward(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const client = idle.pop() ?? new Client(origin);
  client.dispatch(
    {
      path: request.url ?? "/",
      method: (request.method ?? "GET") as Dispatcher.HttpMethod,
      headers: requestHeaders(request.rawHeaders),
      body,
    },
    new Relay(response, client),
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
