import { type Agent, request } from "node:http";
import { connect } from "node:net";

export interface RawAnswer {
  readonly status: number;
  /** By lower-case name; of several the last. */
  readonly headers: Readonly<Record<string, string>>;
  /** Flat (name, value, name, value, …), as they were received. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string | undefined;
  readonly agent?: Agent;
}

/** One request on a bare `node:http` client: nothing is decoded, retried or followed. Rejects when the answer breaks off. */
export function rawCall(url: string, wanted: RawRequest): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const { method = "POST", path, headers = {}, body, agent = false } = wanted;
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, method, path, headers, agent }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: Object.fromEntries(
            Object.entries(answer.headers).map(([name, value]) => [name, String(value)]),
          ),
          rawHeaders: answer.rawHeaders,
          body: Buffer.concat(chunks),
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** What became of bytes that were sent on a connection of their own. */
export interface Exchanged {
  /** All that was received, one character a byte. */
  readonly received: string;
  /** Whether the other side ended the connection; otherwise the time was up. */
  readonly closed: boolean;
}

export interface SendOptions {
  readonly timeoutMs?: number;
  readonly answers?: number;
  /** Nothing more will be sent: the connection is half closed. */
  readonly end?: boolean;
}

/**
 * Sends bytes as they are and listens until the other side closes the connection, has answered `answers` times, or `timeoutMs` are over. Never rejects:
 * a connection that is reset is closed.
 */
export function sendBytes(
  url: string,
  bytes: Buffer | string,
  { timeoutMs = 5_000, answers = 1, end = false }: SendOptions = {},
): Promise<Exchanged> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let received = "";
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const finish = (closed: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, closed });
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      if (statusesOf(received).length >= answers && isWhole(received)) finish(false);
    });
    socket.on("end", () => finish(true));
    socket.on("error", () => finish(true));
    socket.on("close", () => finish(true));
    socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    if (end) socket.end();
  });
}

/** The status of every answer in what was received; interim answers (1xx) left out. */
export function statusesOf(received: string): readonly number[] {
  return [...received.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => Number(status));
}

/** Whether the last answer's body is there, for answers that say how long they are. */
function isWhole(received: string): boolean {
  const head = received.lastIndexOf("HTTP/1.1 ");
  const end = received.indexOf("\r\n\r\n", head);
  if (end === -1) return false;
  const length = /content-length: *(\d+)/i.exec(received.slice(head, end))?.[1];
  if (length === undefined) return received.endsWith("0\r\n\r\n");
  return received.length >= end + 4 + Number(length);
}
