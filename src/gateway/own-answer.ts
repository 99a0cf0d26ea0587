import type { HttpAnswer, RawHeaders } from "../ports/provider-format.ts";
import type { ClientResponse } from "./http-server/client-call.ts";

/** An answer of Sluice's own endpoints: JSON. */
export function ownAnswer(status: number, value: unknown, requestId: string): HttpAnswer {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  return {
    status,
    headers: [
      "content-type",
      "application/json",
      "content-length",
      String(body.length),
      "x-sluice-request-id",
      requestId,
    ],
    body,
  };
}

/** A failure of Sluice's own endpoints, in the shape that OpenAI's has, since most clients know it. */
export function ownFailure(status: number, code: string, message: string, requestId: string): HttpAnswer {
  return ownAnswer(status, { error: { message, type: code, param: null, code } }, requestId);
}

/** Sends an answer that is complete: its headers say how long it is. */
export function sendAnswer(response: ClientResponse, answer: HttpAnswer, headers: RawHeaders = []): void {
  response.writeHead(answer.status, [...answer.headers, ...headers]);
  response.end(answer.body);
}
