import type { Socket } from "node:net";

const ANSWERS: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the request's headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request did not arrive in time"],
};

const ANSWER_DEFAULT = ["400 Bad Request", "the request is not valid HTTP"] as const;

/** A client gets this long to read why, and to close: half-closed connections cost memory, too. */
const LINGER_MS = 1_000;

/** Answers what never became a request, and closes the connection (X3). The format of the path is unknown here, so the error has OpenAI's shape. */
export function answerBrokenRequest(error: Error, socket: Socket): void {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  // The client is gone, or has been answered already: bytes now would land in the middle of another answer.
  if (!socket.writable || socket.bytesWritten > 0 || code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, message] = ANSWERS[code] ?? ANSWER_DEFAULT;
  const body = JSON.stringify({
    error: { message, type: "invalid_request_error", param: null, code: "invalid_request" },
  });
  const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once("close", () => clearTimeout(linger));
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
