import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface WebhookReceiver {
  readonly url: string;
  readonly secret: string;
  readonly received: readonly Received[];
  /** Bodies whose signature is right, parsed. Throws for one whose signature is not. */
  verified(): readonly unknown[];
  close(): Promise<void>;
}

export const WEBHOOK_SECRET = `whsec_${Buffer.from("thirty-two bytes that are secret").toString("base64")}`;

/** An endpoint on a free port of 127.0.0.1. `statusOf` says how it answers the n-th message, from 0; undefined: never. */
export async function startWebhookReceiver(
  statusOf: (index: number) => number | undefined = () => 204,
): Promise<WebhookReceiver> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const status = statusOf(received.length);
      received.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      if (status === undefined) return;
      response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {});
      response.end("ok");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hook?token=url-token-secret`,
    secret: WEBHOOK_SECRET,
    received,
    verified: () => {
      const webhook = new Webhook(WEBHOOK_SECRET);
      return received.map(({ headers, body }) => webhook.verify(body, headers as Record<string, string>));
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
