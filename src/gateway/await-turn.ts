import { passedDuration } from "../core/duration.ts";
import type { Decision, Waiting } from "../engine/admission.ts";
import type { RawHeaders } from "../ports/provider-format.ts";
import type { ClientResponse } from "./http-server/client-call.ts";
import { KeepaliveResponse } from "./keepalive-response.ts";

/** How long a client hears nothing before the first comment. Providers themselves are often silent for this long. */
const SILENT_MS = 3_000;
/** Proxies and load balancers give up on a connection that is silent for a minute, some for half of that. */
const COMMENT_MS = 10_000;

/**
 * Waits for a call's turn, while its client is there: one that goes gives up the place, and undefined is what comes of it (Q5). Where `response` can be begun
 * early it is, with `headers`, after a few seconds. Rejects as the decision does.
 */
export function awaitTurn(
  waiting: Waiting,
  response: ClientResponse,
  headers: RawHeaders,
): Promise<Decision | undefined> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const sinceMs = performance.now();
    let isDecided = false;
    const leave = () => {
      // Who has the decision looks whether the client is still there.
      if (isDecided) return;
      clearTimeout(timer);
      waiting.leave();
      resolve(undefined);
    };
    if (response.isGone) {
      leave();
      return;
    }
    response.listen({ onDrain: () => {}, onGone: leave });
    if (response instanceof KeepaliveResponse) {
      const comment = () => {
        response.comment(`waiting for ${passedDuration(performance.now() - sinceMs)}`);
        timer = setTimeout(comment, COMMENT_MS);
      };
      timer = setTimeout(() => {
        response.begin(headers);
        comment();
      }, SILENT_MS);
    }
    const decided = () => {
      isDecided = true;
      clearTimeout(timer);
    };
    waiting.decision.finally(decided).then(resolve, reject);
  });
}
