import type { IncomingMessage } from "node:http";

/** Twice what Anthropic takes (32 MB). */
const BODY_BYTES_MAX = 64 << 20;

export interface ReadBody {
  /** Empty when it is too large. */
  readonly body: Buffer;
  readonly isTooLarge: boolean;
}

/** Reads a request's body to its end, and keeps no more than the bound of it. Rejects when the connection breaks before. */
export async function readBody(request: IncomingMessage): Promise<ReadBody> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
    else chunks.length = 0;
  }
  return { body: Buffer.concat(chunks), isTooLarge: bytes > BODY_BYTES_MAX };
}
