import { type ClientRequest, request } from "node:http";
import { type RawAnswer, rawCall } from "./http-client.ts";

/** A call of `GET /sluice/v1/limits` that waits. */
export interface ShownWaiting {
  readonly priority: string;
  readonly position: number;
  readonly waited_ms: number;
  readonly expected_ms: number | null;
}

export const chatBody = (content: string, part: Readonly<Record<string, unknown>> = {}) => ({
  model: "gpt-4o-mini",
  messages: [{ role: "user" as const, content }],
  max_tokens: 5,
  ...part,
});

const headersOf = (key: string, headers: Readonly<Record<string, string>>) => ({
  "content-type": "application/json",
  authorization: `Bearer ${key}`,
  ...headers,
});

/** A chat completion, as bytes. */
export const chatCall = (
  url: string,
  key: string,
  headers: Readonly<Record<string, string>> = {},
  content = "hi",
): Promise<RawAnswer> =>
  rawCall(url, {
    path: "/v1/chat/completions",
    headers: headersOf(key, headers),
    body: JSON.stringify(chatBody(content)),
  });

/** The same with a client that can hang up. */
export function openChat(
  url: string,
  key: string,
  headers: Readonly<Record<string, string>> = {},
): ClientRequest {
  const { hostname, port } = new URL(url);
  const sent = request({
    hostname,
    port,
    method: "POST",
    path: "/v1/chat/completions",
    agent: false,
    headers: headersOf(key, headers),
  });
  sent.on("error", () => {});
  sent.end(JSON.stringify(chatBody("hi")));
  return sent;
}

/** What the page of the caller's limits says of its calls that wait. */
export interface ShownWaitingPage {
  readonly waiting: readonly ShownWaiting[];
  readonly waiting_total: number;
}

/** The caller's calls that wait. */
export const waitingOf = async (url: string, key: string): Promise<readonly ShownWaiting[]> =>
  (await waitingPageOf(url, key)).waiting;

export async function waitingPageOf(url: string, key: string): Promise<ShownWaitingPage> {
  const answer = await rawCall(url, {
    method: "GET",
    path: "/sluice/v1/limits",
    headers: { authorization: `Bearer ${key}` },
  });
  return JSON.parse(answer.body.toString()) as ShownWaitingPage;
}

export const errorOf = ({ body }: RawAnswer) =>
  (JSON.parse(body.toString()) as { error: { code: string; message: string } }).error;
