import type { Buffer } from "node:buffer";
import type { EncodedCall } from "./request-codec.ts";

/** One script blocks the server for as long as all of its calls take: at this many, for about half a millisecond. */
const CALLS_MAX = 32;

/** Runs a script for several calls; the replies come in their order. */
export type RunCalls = (keys: readonly string[], calls: readonly Buffer[]) => Promise<unknown>;

interface Waiting {
  readonly call: EncodedCall;
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
  send(call: EncodedCall): Promise<unknown> {
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
    const calls: Buffer[] = [];
    for (const { call } of batch) {
      for (const key of call.keys) keys.push(key);
      calls.push(call.request);
    }
    this.#run(keys, calls).then(
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
