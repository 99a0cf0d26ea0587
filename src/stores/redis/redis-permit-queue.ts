import type { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import type { RoomBounds } from "../../core/fairness/permit.ts";
import type { LimitSpec } from "../../core/limits/limit-spec.ts";
import { OperationalError } from "../../core/operational-error.ts";
import type { Priority } from "../../core/policy/policy.ts";
import type { ReleaseRequest } from "../../ports/limit-store.ts";
import {
  type FreedRequest,
  LOOK_MAX,
  type PermitCall,
  type PermitDecision,
  type PermitQueue,
  type WaitingOfFlow,
  type WaitingPermit,
} from "../../ports/permit-queue.ts";
import type { EncodedCall } from "./request-codec.ts";
import {
  decodeEnterReply,
  decodeGranted,
  decodeGrants,
  decodeLeft,
  decodeView,
  encodeEnter,
  encodeFreed,
  encodeLeave,
  encodeView,
  type PublishedGrant,
  type RoomRequest,
} from "./room-codec.ts";
import { RoomRequests, TIMER_MS_MAX } from "./room-requests.ts";
import { idName, Unanswered } from "./unanswered.ts";

type Decided = Extract<PermitDecision, { readonly kind: "granted" | "timed_out" }>;

/** What the queue needs of the store that it belongs to. */
export interface RoomLink {
  /** Whether listeners are at any node of a cluster, so that the room cannot tell which of them are there. */
  readonly isCluster: boolean;
  /** Runs requests as one script; the reply's first is when the next pump is due. Rejects with `store_unavailable`. */
  run(gateway: string, requests: readonly RoomRequest[]): Promise<readonly unknown[]>;
  encode(call: PermitCall): EncodedCall;
  subjectKey(key: string): string;
  /** A call of this gateway is reserved now. */
  granted(call: PermitCall): void;
  /** Undoes a reservation that nobody wants any more, as soon as that is possible. Never rejects. */
  release(request: ReleaseRequest): Promise<void>;
  /** Delivers what is published to a gateway, until the next `listen` or `close`; `lost` is called when messages may have been missed. */
  listen(gateway: string, onMessage: (message: Buffer) => void, lost: () => void): Promise<void>;
}

/** Five times in the lease that `room.lua` gives a gateway with calls that wait. */
const BEAT_MS = 1_000;
/** A grant that was published before its call left is here by then. */
const STRAGGLER_MS = 1_000;
/** How soon after an answer was missed its call is looked for in the room: soon after Redis answers again, and seldom enough to be nothing to it while it does not. */
const GHOST_MS = 250;
const GATEWAY_MAX = 2 ** 48 - 1;

interface Waiting {
  readonly call: PermitCall;
  readonly bounds: RoomBounds;
  readonly specs: readonly LimitSpec[];
  readonly decided: (decision: Decided) => void;
  readonly failed: (error: unknown) => void;
  /** When it is refused, of `performance.now`: counted from when it came, however long the room took to answer (Q4). */
  readonly dueMs: number;
  deadline: NodeJS.Timeout | undefined;
  /** Which of the calls that came to wait; 0 until it does. */
  arrival: number;
  /** Nobody wants the permit any more. */
  hasLeft: boolean;
  /** Its grant was heard. */
  isGranted: boolean;
  /** The room has said that it does not have it, so that its grant may be under way. */
  isMissing: boolean;
}

/**
 * One waiting room for all gateways on a Redis: `room.lua` decides, this keeps the gateway's own calls and their deadlines, is told of grants over a
 * subscription, and calls the script when something is due. Where messages may have been lost every wait ends as `store_unavailable`, and the gateway
 * goes on under another name; what waited under the old one is dropped with its lease.
 */
export class RedisPermitQueue implements PermitQueue {
  readonly #link: RoomLink;
  readonly #waiting = new Map<string, Waiting>();
  #gateway: string;
  /** Resolves when grants are heard; undefined while nobody listens. */
  #listening: Promise<void> | undefined;
  readonly #requests: RoomRequests;
  /** Calls that nobody waits for any more, and that may wait in the room all the same: ghosts, that would hold up those behind them (Q5, Q7). */
  readonly #abandoned = new Unanswered<Waiting>((waiting) => this.#layGhost(waiting), GHOST_MS);
  #beat: NodeJS.Timeout | undefined;
  /** Counts the calls that came to wait. */
  #arrivals = 0;
  /** The calls up to `arrivals` waited when the last beat was sent, and the room knew `known` of ours. */
  #lastBeat: { readonly arrivals: number; readonly known: number } | undefined;
  #closed = false;

  constructor(link: RoomLink) {
    this.#link = link;
    this.#gateway = newGateway(link);
    this.#requests = new RoomRequests(
      (requests) => link.run(this.#gateway, requests),
      () => this.#waiting.size > 0,
    );
  }

  async enter(
    call: PermitCall,
    bounds: RoomBounds,
  ): Promise<Exclude<PermitDecision, { readonly kind: "timed_out" }> | WaitingPermit> {
    const dueMs = performance.now() + call.maxWaitMs;
    await this.#listen();
    const { promise, resolve, reject } = Promise.withResolvers<Decided>();
    // Who gives the place up does not look at it any more.
    promise.catch(() => {});
    const specs = call.subjects.flatMap(({ charges }) => charges.map(({ spec }) => spec));
    const waiting: Waiting = {
      call,
      bounds,
      specs,
      decided: resolve,
      failed: reject,
      dueMs,
      deadline: undefined,
      arrival: 0,
      hasLeft: false,
      isGranted: false,
      isMissing: false,
    };
    // Its grant may be heard before the reply that it waits.
    const name = idName(call.id);
    if (call.maxWaitMs > 0) this.#waiting.set(name, waiting);
    try {
      const reply = await this.#requests.send(encodeEnter(call, bounds, this.#link.encode(call)));
      const entry = decodeEnterReply(reply as Buffer | readonly unknown[], specs);
      if (entry.kind !== "waiting") {
        this.#waiting.delete(name);
        if (entry.kind === "granted") this.#link.granted(call);
        return entry;
      }
      if (this.#waiting.get(name) === waiting) this.#watch(name, waiting);
      return {
        kind: "waiting",
        expectedMs: entry.expectedMs,
        decision: promise,
        leave: () => this.#leave(name, waiting),
      };
    } catch (error) {
      this.#abandon(name, waiting);
      throw error;
    }
  }

  freed(request: FreedRequest): void {
    const keys = request.keys.map((key) => this.#link.subjectKey(key));
    // Whatever could not be told is found by the next pump.
    this.#requests.send(encodeFreed(request, keys)).catch(() => {});
  }

  async look(flow: string, priority: Priority): Promise<WaitingOfFlow> {
    const reply = await this.#requests.send(encodeView(flow, priority, LOOK_MAX));
    return decodeView(reply as readonly unknown[]);
  }

  /** Ends every wait. */
  close(): void {
    this.#closed = true;
    this.#requests.close();
    this.#abandoned.close();
    this.#giveUp("the store is closed");
  }

  #listen(): Promise<void> {
    this.#listening ??= this.#link
      .listen(
        this.#gateway,
        (message) => {
          for (const grant of decodeGrants(message)) this.#granted(grant);
        },
        () => this.#giveUp("the connection to Redis was lost"),
      )
      .catch((error) => {
        this.#listening = undefined;
        throw error;
      });
    return this.#listening;
  }

  #watch(name: string, waiting: Waiting): void {
    const inMs = Math.max(0, Math.min(waiting.dueMs - performance.now(), TIMER_MS_MAX));
    waiting.deadline = setTimeout(() => void this.#timeOut(name, waiting), inMs);
    this.#arrivals += 1;
    waiting.arrival = this.#arrivals;
    this.#beat ??= setTimeout(() => void this.#keepAlive(), BEAT_MS);
  }

  #granted({ id, reply }: PublishedGrant): void {
    const name = idName(id);
    const waiting = this.#waiting.get(name);
    if (waiting === undefined) {
      const abandoned = this.#abandoned.take(id);
      if (abandoned !== undefined) void this.#release(abandoned, true);
      return;
    }
    this.#waiting.delete(name);
    waiting.isGranted = true;
    clearTimeout(waiting.deadline);
    if (waiting.hasLeft) {
      void this.#release(waiting, true);
      return;
    }
    this.#link.granted(waiting.call);
    waiting.decided(decodeGranted(reply, waiting.specs, true));
  }

  #leave(name: string, waiting: Waiting): void {
    if (this.#waiting.get(name) !== waiting || waiting.hasLeft) return;
    waiting.hasLeft = true;
    clearTimeout(waiting.deadline);
    this.#takeOut(name, waiting, false).then(
      (leftMs) => {
        if (leftMs === undefined) this.#awaitStraggler(name, waiting);
      },
      () => this.#abandon(name, waiting),
    );
  }

  async #timeOut(name: string, waiting: Waiting): Promise<void> {
    try {
      const leftMs = await this.#takeOut(name, waiting, true);
      // Granted in the same moment, and about to be heard.
      if (leftMs === undefined) this.#awaitStraggler(name, waiting);
      else waiting.decided({ kind: "timed_out", waitMs: Math.max(1, leftMs) });
    } catch (error) {
      this.#abandon(name, waiting);
      waiting.failed(error);
    }
  }

  /** When it would have been served, where that is wanted, else 0; undefined where it does not wait in the room any more. */
  async #takeOut(name: string, waiting: Waiting, tellsWait: boolean): Promise<number | undefined> {
    const leftMs = decodeLeft(await this.#requests.send(encodeLeave(waiting.call.id, tellsWait)));
    if (leftMs === undefined) return undefined;
    this.#waiting.delete(name);
    return leftMs;
  }

  /** A grant that was under way is here soon, or the room has forgotten the call. */
  #awaitStraggler(name: string, waiting: Waiting): void {
    waiting.deadline = setTimeout(() => {
      if (!this.#forget(name, waiting)) return;
      void this.#release(waiting, false);
      waiting.decided({ kind: "timed_out", waitMs: 1 });
    }, STRAGGLER_MS).unref();
  }

  /** Nobody knows whether it waits in the room, or has been granted: neither may last. */
  #abandon(name: string, waiting: Waiting): void {
    this.#forget(name, waiting);
    if (this.#closed) return;
    if (!waiting.isGranted) this.#abandoned.add(waiting.call.id, waiting);
    void this.#release(waiting, waiting.isGranted);
  }

  /** True once it is out of the room, and a grant that was under way by then would have been heard. */
  async #layGhost(waiting: Waiting): Promise<boolean> {
    const { isMissing } = waiting;
    waiting.isMissing =
      decodeLeft(await this.#requests.send(encodeLeave(waiting.call.id, false))) === undefined;
    return isMissing || !waiting.isMissing;
  }

  #forget(name: string, waiting: Waiting): boolean {
    clearTimeout(waiting.deadline);
    return this.#waiting.get(name) === waiting && this.#waiting.delete(name);
  }

  /** Gives back what was granted (`isGranted`), or may have been, and lets the next one have it. */
  async #release({ call }: Waiting, isGranted: boolean): Promise<void> {
    const { flow, priority, size, subjects } = call;
    await this.#link.release(call);
    if (this.#closed) return;
    this.freed({
      keys: subjects.map(({ key }) => key),
      served: isGranted ? { flow, priority, correction: -size } : undefined,
      openMs: undefined,
    });
  }

  /** Tells the room that this gateway lives, and finds out whether it still has all of its calls. */
  async #keepAlive(): Promise<void> {
    this.#beat = undefined;
    if (this.#closed || this.#waiting.size === 0) return;
    const arrivals = this.#arrivals;
    try {
      const known = Number(await this.#requests.send({ letter: "p", args: [] }));
      if (this.#isForgotten()) return this.#giveUp("Redis has forgotten calls that wait");
      this.#lastBeat = { arrivals, known };
    } catch {
      return this.#giveUp("Redis does not answer");
    }
    if (this.#waiting.size > 0) this.#beat ??= setTimeout(() => void this.#keepAlive(), BEAT_MS);
  }

  /** Whether more calls wait since the last beat than the room knew then: what it had granted by then has been heard since. */
  #isForgotten(): boolean {
    if (this.#lastBeat === undefined) return false;
    const { arrivals, known } = this.#lastBeat;
    let since = 0;
    for (const { arrival, hasLeft } of this.#waiting.values()) {
      if (arrival > 0 && arrival <= arrivals && !hasLeft) since += 1;
    }
    return since > known;
  }

  /** Ends every wait: nobody can say what was granted meanwhile. */
  #giveUp(reason: string): void {
    clearTimeout(this.#beat);
    this.#beat = undefined;
    this.#requests.forgetDue();
    this.#lastBeat = undefined;
    this.#abandoned.clear();
    this.#listening = undefined;
    this.#gateway = newGateway(this.#link);
    const error = new OperationalError("store_unavailable", reason, { retryAfterMs: BEAT_MS });
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.deadline);
      if (waiting.hasLeft) void this.#release(waiting, false);
      else waiting.failed(error);
    }
    this.#waiting.clear();
  }
}

/** The room knows by the first letter whether it can see that a gateway listens. */
const newGateway = ({ isCluster }: RoomLink) => `${isCluster ? "c" : "s"}${randomInt(1, GATEWAY_MAX)}`;
