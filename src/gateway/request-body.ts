import type { IncomingMessage } from "node:http";
import { OperationalError } from "../core/operational-error.ts";

export const bodyTooLarge = (bytesMax: number) =>
  new OperationalError(
    "body_too_large",
    `the request body is larger than the ${bytesMax} bytes allowed here`,
  );

/** Throws `body_too_large` when the head already says so, before a byte is read. */
export function assertAnnouncedLength(request: IncomingMessage, bytesMax: number): void {
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > bytesMax) throw bodyTooLarge(bytesMax);
}

/**
 * All of a request's body. Rejects with `body_too_large`, or with `invalid_request` when the client goes away in the middle; the server's
 * `requestTimeout` is its deadline.
 */
export function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > bytesMax) {
        request.removeAllListeners("data");
        reject(bodyTooLarge(bytesMax));
        return;
      }
      chunks.push(chunk);
    });
    request.on("end", () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, length)));
    request.on("error", (cause) => reject(brokenOff(cause)));
    request.on("close", () => {
      if (!request.complete) reject(brokenOff(undefined));
    });
  });
}

const brokenOff = (cause: unknown) =>
  new OperationalError("invalid_request", "the request was broken off before its body was complete", {
    cause,
  });
