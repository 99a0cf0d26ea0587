import type { RawHeaders } from "../ports/provider-format.ts";

/** What limits count: the model tokens of an exchange. */
export interface AnswerUsage {
  /** Without what was read from the provider's cache. */
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** A whole answer, before switches do something to it. */
export interface Answer {
  readonly status: number;
  /** Without those that are the transport's: `content-length`, `transfer-encoding`, … */
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly stream: boolean;
  readonly usage: AnswerUsage;
}

const NO_USAGE: AnswerUsage = { inputTokens: 0, outputTokens: 0 };

export function jsonAnswer(value: unknown, usage: AnswerUsage = NO_USAGE, status = 200): Answer {
  return {
    status,
    headers: ["content-type", "application/json"],
    body: Buffer.from(JSON.stringify(value)),
    stream: false,
    usage,
  };
}

export function streamAnswer(events: readonly string[], usage: AnswerUsage): Answer {
  return {
    status: 200,
    headers: ["content-type", "text/event-stream; charset=utf-8", "cache-control", "no-cache"],
    body: Buffer.from(events.join("")),
    stream: true,
    usage,
  };
}

/** One server-sent event; OpenAI's chat streams have no names. */
export function sse(data: unknown, name?: string): string {
  const json = typeof data === "string" ? data : JSON.stringify(data);
  return name === undefined ? `data: ${json}\n\n` : `event: ${name}\ndata: ${json}\n\n`;
}
