import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type Answer, sse } from "./answer.ts";
import { type ChunkSize, chunksOf, eventsOf } from "./chunking.ts";
import { errorBody } from "./provider-errors.ts";
import { isObject } from "./recording.ts";
import type { Switches } from "./switches.ts";
import type { WireFormat } from "./wire-format.ts";

/** How an answer ended. `cut`: by a switch. `closed`: by the client, or because the provider was closed. */
export type DeliveryEnd = "finished" | "cut" | "closed";

/** How much of an answer has gone out. */
export interface Delivery {
  /** Of the body, handed to the connection. */
  bytes: number;
  chunks: number;
}

/** How an answer goes out, and what ends it early. */
export interface DeliveryOptions {
  readonly format: WireFormat;
  readonly switches: Switches;
  /** Aborted when the client has gone or the provider closes. */
  readonly signal: AbortSignal;
  /** Counted up as bytes go out. */
  readonly progress: Delivery;
}

/** Sends an answer, chunk by chunk as the switches say, waiting for a slow reader. Never rejects. */
export async function deliver(
  response: ServerResponse,
  answer: Answer,
  options: DeliveryOptions,
): Promise<DeliveryEnd> {
  const { switches, signal, progress } = options;
  const body = bodyToSend(answer, options);
  const chunks = chunksOf(body, chunkSizeOf(answer, switches), switches.seed);
  writeHead(response, answer, body.length);
  if (chunks.length === 1 && !isInterrupted(switches)) {
    response.end(body);
    progress.bytes = body.length;
    progress.chunks = 1;
    return "finished";
  }
  const { chunkIntervalMs = 0, cutAfterBytes = Infinity, cutAfterChunks = Infinity } = switches;
  const gone = aborted(signal);
  for (const [index, chunk] of chunks.entries()) {
    if (index === switches.stallAfterChunks) {
      response.flushHeaders();
      await gone;
    }
    if (index > 0 && chunkIntervalMs > 0) await wait(chunkIntervalMs, signal);
    if (signal.aborted) return "closed";
    const allowed = index >= cutAfterChunks ? 0 : cutAfterBytes - progress.bytes;
    await write(response, chunk.subarray(0, allowed), progress, gone);
    if (signal.aborted) return "closed";
    if (allowed >= chunk.length) continue;
    response.destroy();
    return "cut";
  }
  response.end();
  return "finished";
}

function isInterrupted({ cutAfterBytes, cutAfterChunks, stallAfterChunks }: Switches): boolean {
  return [cutAfterBytes, cutAfterChunks, stallAfterChunks].some((value) => value !== undefined);
}

/** Never rejects; ends early when aborted. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {});
}

/** Resolves when aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function chunkSizeOf(answer: Answer, switches: Switches): ChunkSize | undefined {
  if (switches.chunkBytes !== undefined) return switches.chunkBytes;
  const isPaced =
    switches.chunkIntervalMs !== undefined ||
    switches.cutAfterChunks !== undefined ||
    switches.stallAfterChunks !== undefined;
  return isPaced && answer.stream ? "event" : undefined;
}

function bodyToSend(answer: Answer, { format, switches }: DeliveryOptions): Buffer {
  if (switches.midStreamError === undefined || !answer.stream) return answer.body;
  const events = eventsOf(answer.body).slice(0, switches.midStreamError);
  return Buffer.concat([...events, streamError(answer, format)]);
}

function streamError(answer: Answer, format: WireFormat): Buffer {
  if (format === "anthropic") return Buffer.from(sse(errorBody(format, 529), "error"));
  const body = errorBody(format, 500);
  const isResponses = answer.body.subarray(0, 100).includes("event: response.");
  if (!isResponses || !isObject(body) || !isObject(body.error)) return Buffer.from(sse(body));
  const { message } = body.error;
  return Buffer.from(
    sse({ type: "error", code: "server_error", message, param: null, sequence_number: 0 }, "error"),
  );
}

/** A stream's length is unknown to a provider when it begins. */
function writeHead(response: ServerResponse, answer: Answer, length: number): void {
  const hasNoBody = answer.status === 204 || answer.status === 304;
  const sized = answer.stream || hasNoBody ? [] : ["content-length", String(length)];
  response.writeHead(answer.status, [...answer.headers, ...sized]);
  if (answer.stream) response.flushHeaders();
}

/** Resolves when the chunk has been handed to the system, which a cut needs, or when `gone` does. */
async function write(
  response: ServerResponse,
  chunk: Buffer,
  progress: Delivery,
  gone: Promise<void>,
): Promise<void> {
  if (chunk.length === 0) {
    response.flushHeaders();
    return;
  }
  const written = new Promise<void>((resolve) => response.write(chunk, () => resolve()));
  await Promise.race([written, gone]);
  progress.bytes += chunk.length;
  progress.chunks += 1;
}
