/**
 * A provider that answers every call with an endless paced stream of chat completion chunks, each with the time at which it was sent, until the
 * connection is closed or `STREAM_SECONDS` are over; then it sends the usage and `[DONE]`. On bare sockets, because it shares a core with the client.
 *
 *     node stream-provider.ts CHUNKS_PER_SECOND STREAM_SECONDS        prints READY PORT
 */
import { createServer, type Socket } from "node:net";

const chunksPerSecond = Number(process.argv[2]);
const streamSeconds = Number(process.argv[3]);
const periodMs = 1_000 / chunksPerSecond;
const chunksMax = chunksPerSecond * streamSeconds;
/** How often due streams are looked for: short beside the period, long beside the cost of a wake-up. */
const TICK_MS = 1;

interface Stream {
  readonly socket: Socket;
  dueMs: number;
  sent: number;
}

const HEAD =
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
const COMMON =
  '"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_bench"';

const framed = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

/** The send time stands where OpenAI pads its chunks to equal length, in microseconds of the clock that all processes of a machine share. */
const chunk = () =>
  framed(
    `data: {${COMMON},"choices":[{"index":0,"delta":{"content":" parrot"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"${process.hrtime.bigint() / 1_000n}"}\n\n`,
  );

const ending = (sent: number) =>
  `${framed(
    `data: {${COMMON},"choices":[],"usage":{"prompt_tokens":420,"completion_tokens":${sent},"total_tokens":${420 + sent}}}\n\n`,
  )}${framed("data: [DONE]\n\n")}0\r\n\r\n`;

const streams = new Set<Stream>();

function tick(): void {
  const nowMs = performance.now();
  for (const stream of streams) {
    if (stream.dueMs > nowMs) continue;
    if (stream.sent === chunksMax) {
      streams.delete(stream);
      stream.socket.write(ending(stream.sent), "latin1");
      continue;
    }
    stream.dueMs += periodMs;
    stream.sent += 1;
    stream.socket.write(chunk(), "latin1");
  }
}

/** Whether a whole call has come. The calls are the benchmark's own, so their form is known: a `content-length`, no `chunked`. */
function isWhole(text: string): boolean {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return false;
  const length = /content-length: *(\d+)/i.exec(text.slice(0, headEnd));
  return text.length - headEnd - 4 >= Number(length?.[1] ?? 0);
}

const server = createServer({ noDelay: true }, (socket) => {
  let received = "";
  let stream: Stream | undefined;
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    received += text;
    if (!isWhole(received)) return;
    received = "";
    socket.write(HEAD, "latin1");
    // Streams start at any moment of the period, as those of different users do.
    stream = { socket, dueMs: performance.now() + Math.random() * periodMs, sent: 0 };
    streams.add(stream);
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    if (stream !== undefined) streams.delete(stream);
  });
});
setInterval(tick, TICK_MS);
server.listen(0, "127.0.0.1", 4_096, () => {
  const address = server.address();
  if (address !== null && typeof address === "object") process.stdout.write(`READY ${address.port}\n`);
});
process.once("SIGTERM", () => process.exit(0));
