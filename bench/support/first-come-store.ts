import type { LimitStore } from "../../src/ports/limit-store.ts";
import type { PermitCall, PermitDecision, PermitQueue, WaitingPermit } from "../../src/ports/permit-queue.ts";

type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;

interface Waiting {
  readonly call: PermitCall;
  readonly decided: (decision: Decided) => void;
  readonly deadline: NodeJS.Timeout;
}

/** The queue is cut when so many of its front are gone. */
const CUT = 20_000;

/**
 * What p-queue does, over the same limits: first come first served, whoever it is; a promise and a deadline each. Knows how many may run, so that it never tries in
 * vain; refuses nobody, and is made for this benchmark only.
 */
function firstComePermits(store: LimitStore, places: number): PermitQueue {
  const waiting: Waiting[] = [];
  let head = 0;
  let open = 0;
  const reserve = async (call: PermitCall): Promise<Decided> => {
    const outcome = await store.reserve(call);
    if (outcome.kind !== "admitted") throw new Error(outcome.kind);
    return { kind: "granted", outcome, isCounted: false };
  };
  return {
    async enter(call): Promise<Exclude<PermitDecision, { readonly kind: "timed_out" }> | WaitingPermit> {
      if (open < places) {
        open += 1;
        return (await reserve(call)) as Extract<Decided, { readonly kind: "granted" }>;
      }
      const { promise, resolve } = Promise.withResolvers<Decided>();
      const deadline = setTimeout(() => {}, call.maxWaitMs);
      waiting.push({ call, decided: resolve, deadline });
      return { kind: "waiting", expectedMs: 0, decision: promise, leave: () => {} };
    },
    freed() {
      if (head === waiting.length) {
        open -= 1;
        return;
      }
      const { call, decided, deadline } = waiting[head++];
      if (head > CUT) {
        waiting.splice(0, head);
        head = 0;
      }
      clearTimeout(deadline);
      void reserve(call).then(decided);
    },
    look: async () => ({ total: 0, first: [] }),
  };
}

/** A store whose calls are served first come first served. */
export const firstComeStore = (store: LimitStore, places: number): LimitStore => ({
  permits: firstComePermits(store, places),
  reserve: (request) => store.reserve(request),
  extend: (request) => store.extend(request),
  settle: (request) => store.settle(request),
  release: (request) => store.release(request),
  read: (requests) => store.read(requests),
  beat: (instance, leaseMs) => store.beat(instance, leaseMs),
  close: () => store.close(),
});
