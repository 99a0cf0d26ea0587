import { lookup as lookUp } from "node:dns";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { Webhook } from "standardwebhooks";

/** Where webhooks go. What is secret is only revealed to the request. */
export interface WebhookTarget {
  readonly url: string;
  /** `whsec_…`, or the same without: Base64. */
  readonly secret: string;
  /** Whether an IP address may be called. */
  readonly isAllowed: (address: string) => boolean;
}

/** One message. A repeated one keeps its id, so that a receiver knows it. */
export interface WebhookMessage {
  readonly id: string;
  /** JSON. */
  readonly body: string;
}

/** What came of one try. `why` is for the log: a status or a code, never a URL. */
export type PostOutcome =
  | { readonly kind: "delivered" }
  /** 410: the receiver wants no more of them. */
  | { readonly kind: "gone" }
  /** An address that is not allowed: no other try will go elsewhere, as far as can be told. */
  | { readonly kind: "forbidden"; readonly why: string }
  | { readonly kind: "failed"; readonly why: string };

const FORBIDDEN = "ERR_ADDRESS_NOT_ALLOWED";

class ForbiddenAddress extends Error {
  readonly code = FORBIDDEN;

  constructor() {
    super("the address is not among those that are allowed");
  }
}

/** Resolves names to allowed addresses only, at the moment of connecting: a name that changes its address in between gains nothing. */
const guardedLookup =
  (isAllowed: (address: string) => boolean): LookupFunction =>
  (hostname, options, callback) => {
    lookUp(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isAllowed(address));
      const [first] = allowed;
      if (first === undefined) return callback(new ForbiddenAddress(), []);
      return options.all === true ? callback(null, allowed) : callback(null, first.address, first.family);
    });
  };

const STATUS_OK_MIN = 200;
const STATUS_OK_MAX = 299;
const STATUS_GONE = 410;
const SECOND_MS = 1_000;

/**
 * Sends one message, signed as Standard Webhooks say, once. Follows no redirect: it may lead where nothing may go. Throws for a secret that cannot sign, and never rejects; `signal` ends it, as does
 * `timeoutMs`.
 */
export function postWebhook(
  target: WebhookTarget,
  { id, body }: WebhookMessage,
  nowMs: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<PostOutcome> {
  const url = new URL(target.url);
  const literal = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(literal) !== 0 && !target.isAllowed(literal)) {
    return Promise.resolve({ kind: "forbidden", why: FORBIDDEN });
  }
  const sentAt = new Date(nowMs);
  const options = {
    method: "POST",
    // One message in a while: nothing to keep a connection for.
    agent: false,
    lookup: guardedLookup(target.isAllowed),
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    headers: {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "user-agent": "sluice",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(nowMs / SECOND_MS)),
      "webhook-signature": new Webhook(target.secret).sign(id, sentAt, body),
    },
  } as const;
  return new Promise((resolve) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, options, (response) => {
      const status = response.statusCode ?? 0;
      // What it says does not matter, and may be endless.
      response.destroy();
      if (status >= STATUS_OK_MIN && status <= STATUS_OK_MAX) resolve({ kind: "delivered" });
      else if (status === STATUS_GONE) resolve({ kind: "gone" });
      else resolve({ kind: "failed", why: `status ${status}` });
    });
    // 101: what follows is no answer.
    request.on("upgrade", (_, socket) => {
      socket.destroy();
      resolve({ kind: "failed", why: "status 101" });
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      const why = error.code ?? error.name;
      resolve(why === FORBIDDEN ? { kind: "forbidden", why } : { kind: "failed", why });
    });
    request.end(body);
  });
}
