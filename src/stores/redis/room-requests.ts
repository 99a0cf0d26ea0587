import type { RoomRequest } from "./room-codec.ts";

/** Runs requests as one script; the reply's first is when the next pump is due. Rejects with `store_unavailable`. */
export type RunRoom = (requests: readonly RoomRequest[]) => Promise<readonly unknown[]>;

/** So many requests are one script: it blocks the server for about two milliseconds. */
const REQUESTS_MAX = 64;
/** Node's timers take no more. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

interface Sending {
  readonly request: RoomRequest;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What one gateway asks of the waiting room: requests of one turn of the event loop together, and a pump when the room has said that somebody's moment
 * comes. Every gateway has such a timer; whichever is first serves whoever is due.
 */
export class RoomRequests {
  readonly #run: RunRoom;
  readonly #hasWaiting: () => boolean;
  #sending: Sending[] = [];
  #pump: NodeJS.Timeout | undefined;
  #pumpAtMs = Number.POSITIVE_INFINITY;
  #isClosed = false;

  /** `hasWaiting`: whether calls of this gateway wait, for whose sake the process must stay. */
  constructor(run: RunRoom, hasWaiting: () => boolean) {
    this.#run = run;
    this.#hasWaiting = hasWaiting;
  }

  /** Resolves with the reply of this request. Rejects with `store_unavailable`. */
  send(request: RoomRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#sending.length === 0) setImmediate(() => this.#flush());
      this.#sending.push({ request, resolve, reject });
    });
  }

  /** Pumps no more for what was due. */
  forgetDue(): void {
    clearTimeout(this.#pump);
    this.#pumpAtMs = Number.POSITIVE_INFINITY;
  }

  /** Pumps never again; requests may still be sent. */
  close(): void {
    this.#isClosed = true;
    this.forgetDue();
  }

  #flush(): void {
    const sending = this.#sending;
    this.#sending = [];
    for (const batch of batchesOf(sending)) {
      this.#run(batch.map(({ request }) => request)).then(
        ([dueMs, ...replies]) => {
          for (const [at, { resolve }] of batch.entries()) resolve(replies[at]);
          this.#arm(Number(dueMs));
        },
        (error) => {
          for (const { reject } of batch) reject(error);
        },
      );
    }
  }

  /** `inMs` until somebody's moment comes; −1 where there is none. */
  #arm(inMs: number): void {
    if (this.#isClosed || inMs < 0) return;
    const atMs = performance.now() + inMs;
    if (atMs >= this.#pumpAtMs) return;
    clearTimeout(this.#pump);
    this.#pumpAtMs = atMs;
    this.#pump = setTimeout(
      () => {
        this.#pumpAtMs = Number.POSITIVE_INFINITY;
        this.send({ letter: "p", args: [] }).catch(() => {});
      },
      Math.min(TIMER_MS_MAX, Math.ceil(inMs)),
    );
    // Where no call of ours waits, others have timers too.
    if (!this.#hasWaiting()) this.#pump.unref();
  }
}

/**
 * What was given back goes first, so that a script serves whoever is next once, when it knows all of it. Where there is more than one script takes, each takes the same
 * share: who gives something back and queues up again in the same turn is then mostly in one.
 */
function batchesOf(sending: readonly Sending[]): readonly (readonly Sending[])[] {
  const freed = sending.filter(({ request }) => request.letter === "f");
  const others = sending.filter(({ request }) => request.letter !== "f");
  const count = Math.ceil(sending.length / REQUESTS_MAX);
  const share = (list: readonly Sending[], at: number) =>
    list.slice(Math.floor((list.length * at) / count), Math.floor((list.length * (at + 1)) / count));
  return Array.from({ length: count }, (_, at) => [...share(freed, at), ...share(others, at)]);
}
