/**
 * Opens many streams and measures the time from a chunk's sending, which stands in the chunk, to its arrival. On bare sockets, because it shares a
 * core with the provider.
 *
 *     node stream-client.ts PORT STREAMS WARM_SECONDS MEASURED_SECONDS
 *
 * prints `BEGIN` and `END` around the measured time, then `RESULT` with a JSON of `StreamResult`.
 */
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { chatRequestBody, KEYS, keyOf } from "../support/chat-call.ts";

export interface StreamResult {
  /** Chunks that came while measuring. */
  readonly chunks: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Streams that ended or failed, although they should have lasted. */
  readonly lost: number;
}

const [port, streams, warmSeconds, measuredSeconds] = process.argv.slice(2).map(Number);
const MARK = Buffer.from('"obfuscation":"');
/** New streams are opened over this time: 500 at one moment would measure a flood of connections. */
const OPENING_MS = 1_000;
/** More than any run has chunks. */
const SAMPLES_MAX = 4_000_000;

const latenciesUs = new Float64Array(SAMPLES_MAX);
let samples = 0;
let isMeasuring = false;
let lost = 0;

function number(buffer: Buffer, at: number, end: number): number {
  let value = 0;
  for (; at < end; at++) {
    const digit = buffer[at] - 48;
    if (digit < 0 || digit > 9) return value;
    value = value * 10 + digit;
  }
  return -1;
}

/** Notes the latency of every chunk in what was read. A time cut by the end of a read is left out: one in thousands. */
function note(buffer: Buffer, length: number): void {
  const nowUs = Number(process.hrtime.bigint() / 1_000n);
  const read = buffer.subarray(0, length);
  for (let at = read.indexOf(MARK); at !== -1; at = read.indexOf(MARK, at)) {
    at += MARK.length;
    const sentUs = number(read, at, length);
    if (isMeasuring && sentUs !== -1) latenciesUs[samples++] = nowUs - sentUs;
  }
}

const body = JSON.stringify({
  ...JSON.parse(chatRequestBody()),
  stream: true,
  stream_options: { include_usage: true },
});

function open(index: number): Socket {
  const socket = connect({
    port,
    host: "127.0.0.1",
    noDelay: true,
    onread: {
      // Streams are read one at a time, so they can share a buffer.
      buffer: shared,
      callback(length, buffer) {
        note(buffer as Buffer, length);
        return true;
      },
    },
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    if (!isOver) lost += 1;
  });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n` +
      `User-Agent: OpenAI/JS 6.0.0\r\nAuthorization: Bearer ${keyOf(index % KEYS)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  return socket;
}

const shared = Buffer.allocUnsafeSlow(65_536);
let isOver = false;
const sockets: Socket[] = [];
for (let index = 0; index < streams; index++) {
  sockets.push(open(index));
  if (index % 10 === 9) await delay((OPENING_MS * 10) / streams);
}
await delay(warmSeconds * 1_000);
isMeasuring = true;
const startedMs = performance.now();
process.stdout.write("BEGIN\n");
await delay(measuredSeconds * 1_000);
isMeasuring = false;
const seconds = (performance.now() - startedMs) / 1_000;
process.stdout.write("END\n");
isOver = true;
for (const socket of sockets) socket.destroy();
const sorted = latenciesUs.subarray(0, samples).sort();
const quantileMs = (q: number) => sorted[Math.min(samples - 1, Math.floor(samples * q))] / 1_000;
const result: StreamResult = {
  chunks: samples,
  seconds,
  p50Ms: quantileMs(0.5),
  p99Ms: quantileMs(0.99),
  lost,
};
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
process.exit(0);
