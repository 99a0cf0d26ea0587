import type { Buffer } from "node:buffer";
import type { BatchedCall } from "./request-codec.ts";

/** One script blocks the server for as long as all of its calls take: at this many, for about half a millisecond. */
const CALLS_MAX = 32;

/** Runs a script for several calls; the replies come in their order. `args` are how many plans there are, the plans, and the calls. */
export type RunCalls = (keys: readonly string[], args: readonly (string | Buffer)[]) => Promise<unknown>;

interface Waiting {
  readonly call: BatchedCall;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Sends calls that come in the same turn of the event loop together, since a call alone costs most for being sent and for starting its script.
 * Nobody waits for others to come: an only call goes at the end of its own turn.
 */
export class CallBatcher {
  readonly #run: RunCalls;
  #waiting: Waiting[] = [];

  constructor(run: RunCalls) {
    this.#run = run;
  }

  /** Resolves to the call's own reply. */
  send(call: BatchedCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(this.#flush);
      this.#waiting.push({ call, resolve, reject });
    });
  }

  readonly #flush = () => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let i = 0; i < waiting.length; i += CALLS_MAX) {
      this.#send(waiting.length <= CALLS_MAX ? waiting : waiting.slice(i, i + CALLS_MAX));
    }
  };

  #send(batch: readonly Waiting[]): void {
    const keys: string[] = [];
    const plans: Buffer[] = [];
    for (const { call } of batch) {
      for (const key of call.keys) keys.push(key);
      let number = plans.indexOf(call.plan);
      if (number === -1) number = plans.push(call.plan) - 1;
      call.request[0] = number;
    }
    const args: (string | Buffer)[] = [String(plans.length), ...plans];
    for (const { call } of batch) args.push(call.request);
    this.#run(keys, args).then(
      (replies) => {
        const list = replies as readonly unknown[];
        for (let i = 0; i < batch.length; i++) batch[i].resolve(list[i]);
      },
      (error) => {
        for (const { reject } of batch) reject(error);
      },
    );
  }
}
