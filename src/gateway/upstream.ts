import type { GatewayBounds } from "./gateway-settings.ts";
import type { CallController, ResponseHandler } from "./http-client/call.ts";
import { HttpClient } from "./http-client/http-client.ts";
import type { HttpRequest } from "./http-client/http-request.ts";
import type { WriteBurst } from "./write-burst.ts";

/** A provider closes idle connections after a minute or more; ours go first, so that no call is sent into a closing one. */
const KEEP_ALIVE_MS = 30_000;
/** As many as one address and port can have from this machine's ephemeral ports (28,232 on Linux), with room for others. */
const CONNECTIONS_MAX = 20_000;

/** Connections to the providers. Owned by the gateway. */
export class Upstream {
  readonly #client: HttpClient;

  constructor(burst: WriteBurst) {
    this.#client = new HttpClient({ keepAliveMs: KEEP_ALIVE_MS, connectionsMax: CONNECTIONS_MAX, burst });
  }

  send(
    origin: string,
    bounds: GatewayBounds,
    request: HttpRequest,
    handler: ResponseHandler,
  ): CallController {
    const deadlines = {
      connectMs: bounds.connectTimeoutMs,
      answerMs: bounds.answerTimeoutMs,
      idleMs: bounds.idleTimeoutMs,
    };
    return this.#client.send(origin, request, deadlines, handler);
  }

  close(): void {
    this.#client.close();
  }
}
