import type { HttpAnswer } from "../ports/provider-format.ts";

/** An answer of Sluice's own endpoints: JSON. */
export function ownAnswer(status: number, value: unknown, requestId: string): HttpAnswer {
  return {
    status,
    headers: ["content-type", "application/json", "x-sluice-request-id", requestId],
    body: Buffer.from(`${JSON.stringify(value)}\n`),
  };
}

/** A failure of Sluice's own endpoints, in the shape that OpenAI's has, since most clients know it. */
export function ownFailure(status: number, code: string, message: string, requestId: string): HttpAnswer {
  return ownAnswer(status, { error: { message, type: code, param: null, code } }, requestId);
}
