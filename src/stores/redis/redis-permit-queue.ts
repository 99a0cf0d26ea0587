import type { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import type { RoomBounds } from "../../core/fairness/permit.ts";
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
import { type CallInRoom, CallsInRoom, type Decided } from "./calls-in-room.ts";
import type { EncodedCall } from "./request-codec.ts";
import {
  decodeEnterReply,
  decodeGranted,
  decodeGrants,
  decodeLeft,
  decodePumped,
  decodeView,
  type EnterReply,
  encodeEnter,
  encodeFreed,
  encodeLeave,
  encodeView,
  type PublishedGrant,
  type RoomRequest,
} from "./room-codec.ts";
import { RoomRequests, TIMER_MS_MAX } from "./room-requests.ts";
import { idName, Unanswered } from "./unanswered.ts";

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
/** The most that `randomInt` draws from: so many that no two gateways have one name. */
const GATEWAY_MAX = 2 ** 48 - 1;

/**
 * One waiting room for all gateways on a Redis: `room.lua` decides, this keeps the gateway's own calls and their deadlines, is told of grants over a
 * subscription, and calls the script when something is due. Where Redis has lost the room, its calls queue up again; where messages may have been lost every wait ends as `store_unavailable`, and the gateway
 * goes on under another name; what waited under the old one is dropped with its lease.
 */
export class RedisPermitQueue implements PermitQueue {
  readonly #link: RoomLink;
  readonly #waiting = new CallsInRoom();
  #gateway: string;
  /** Resolves when grants are heard; undefined while nobody listens. */
  #listening: Promise<void> | undefined;
  readonly #requests: RoomRequests;
  /** Calls that nobody waits for any more, and that may wait in the room all the same: ghosts, that would hold up those behind them (Q5, Q7). */
  readonly #abandoned = new Unanswered<CallInRoom>((waiting) => this.#layGhost(waiting), GHOST_MS);
  #beat: NodeJS.Timeout | undefined;
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
    const waiting: CallInRoom = {
      call,
      bounds,
      specs,
      decided: resolve,
      failed: reject,
      dueMs,
      deadline: undefined,
      arrival: 0,
      generation: 0,
      lostWith: 0,
      hasLeft: false,
      isTimedOut: false,
      isGranted: false,
      isMissing: false,
    };
    // Its grant may be heard before the reply that it waits.
    if (call.maxWaitMs > 0) this.#waiting.add(waiting);
    try {
      const entry = await this.#enterRoom(waiting, call.maxWaitMs);
      if (entry.kind !== "waiting") {
        this.#waiting.remove(waiting);
        if (entry.kind === "granted") this.#link.granted(call);
        return entry;
      }
      if (this.#waiting.has(waiting)) this.#watch(waiting);
      return {
        kind: "waiting",
        expectedMs: entry.expectedMs,
        decision: promise,
        leave: () => this.#leave(waiting),
      };
    } catch (error) {
      this.#abandon(waiting);
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
    if (this.#listening !== undefined) return this.#listening;
    const listening = this.#link.listen(
      this.#gateway,
      (message) => {
        const { generation, grants } = decodeGrants(message);
        for (const grant of grants) this.#granted(grant, generation);
      },
      () => this.#giveUp("the connection to Redis was lost"),
    );
    this.#listening = listening;
    listening.catch(() => {
      // One that was given up meanwhile is not the one that others listen by now.
      if (this.#listening === listening) this.#listening = undefined;
    });
    return listening;
  }

  async #enterRoom(waiting: CallInRoom, maxWaitMs: number): Promise<EnterReply> {
    const { call, bounds, specs } = waiting;
    const request = encodeEnter({ ...call, maxWaitMs }, bounds, this.#link.encode(call));
    const entry = decodeEnterReply(
      (await this.#requests.send(request)) as Buffer | readonly unknown[],
      specs,
    );
    if (entry.kind === "waiting") {
      this.#told(entry.generation);
      if (this.#waiting.has(waiting)) this.#waiting.arrived(waiting, entry.generation);
    }
    return entry;
  }

  /** The room has told its generation: what it has lost since it told another one queues up again (L12). */
  #told(generation: number): void {
    for (const lost of this.#waiting.lostBefore(generation)) void this.#enterAgain(lost);
  }

  /** Queues up once more, for the rest of its time. */
  async #enterAgain(waiting: CallInRoom): Promise<void> {
    try {
      const restMs = Math.max(0, Math.ceil(waiting.dueMs - performance.now()));
      const entry = await this.#enterRoom(waiting, restMs);
      if (entry.kind === "waiting" || !this.#waiting.has(waiting)) return;
      if (entry.kind === "granted") this.#decide(waiting, entry);
      else if (this.#forget(waiting))
        waiting.decided({ kind: "timed_out", waitMs: Math.max(1, entry.waitMs) });
    } catch (error) {
      this.#abandon(waiting);
      waiting.failed(error);
    }
  }

  #watch(waiting: CallInRoom): void {
    const inMs = Math.max(0, Math.min(waiting.dueMs - performance.now(), TIMER_MS_MAX));
    waiting.deadline = setTimeout(() => void this.#timeOut(waiting), inMs);
    this.#beat ??= setTimeout(() => void this.#keepAlive(), BEAT_MS);
  }

  #granted({ id, reply }: PublishedGrant, generation: number): void {
    const waiting = this.#waiting.find(idName(id));
    if (waiting === undefined) {
      const abandoned = this.#abandoned.take(id);
      if (abandoned !== undefined) void this.#release(abandoned, true);
      return;
    }
    // It was granted before all was lost, its reservation included.
    if (waiting.lostWith === generation) return;
    this.#decide(waiting, decodeGranted(reply, waiting.specs, true));
  }

  #decide(waiting: CallInRoom, decision: Extract<Decided, { readonly kind: "granted" }>): void {
    this.#forget(waiting);
    waiting.isGranted = true;
    if (waiting.hasLeft) {
      void this.#release(waiting, decision.isCounted);
      return;
    }
    this.#link.granted(waiting.call);
    waiting.decided(decision);
  }

  #leave(waiting: CallInRoom): void {
    if (!this.#waiting.has(waiting) || waiting.hasLeft) return;
    waiting.hasLeft = true;
    clearTimeout(waiting.deadline);
    this.#takeOut(waiting, false).then(
      (leftMs) => {
        if (leftMs === undefined) this.#awaitStraggler(waiting);
      },
      () => this.#abandon(waiting),
    );
  }

  async #timeOut(waiting: CallInRoom): Promise<void> {
    waiting.isTimedOut = true;
    try {
      const leftMs = await this.#takeOut(waiting, true);
      // Granted in the same moment, and about to be heard.
      if (leftMs === undefined) this.#awaitStraggler(waiting);
      else waiting.decided({ kind: "timed_out", waitMs: Math.max(1, leftMs) });
    } catch (error) {
      this.#abandon(waiting);
      waiting.failed(error);
    }
  }

  /** When it would have been served, where that is wanted, else 0; undefined where it does not wait in the room any more. */
  async #takeOut(waiting: CallInRoom, tellsWait: boolean): Promise<number | undefined> {
    const leftMs = decodeLeft(await this.#requests.send(encodeLeave(waiting.call.id, tellsWait)));
    if (leftMs === undefined) return undefined;
    this.#waiting.remove(waiting);
    return leftMs;
  }

  /** A grant that was under way is here soon, or the room has forgotten the call. */
  #awaitStraggler(waiting: CallInRoom): void {
    waiting.deadline = setTimeout(() => {
      if (!this.#forget(waiting)) return;
      void this.#release(waiting, false);
      waiting.decided({ kind: "timed_out", waitMs: 1 });
    }, STRAGGLER_MS).unref();
  }

  /** Nobody knows whether it waits in the room, or has been granted: neither may last. */
  #abandon(waiting: CallInRoom): void {
    this.#forget(waiting);
    if (this.#closed) return;
    if (!waiting.isGranted) this.#abandoned.add(waiting.call.id, waiting);
    void this.#release(waiting, waiting.isGranted);
  }

  /** True once it is out of the room, and a grant that was under way by then would have been heard. */
  async #layGhost(waiting: CallInRoom): Promise<boolean> {
    const { isMissing } = waiting;
    waiting.isMissing =
      decodeLeft(await this.#requests.send(encodeLeave(waiting.call.id, false))) === undefined;
    return isMissing || !waiting.isMissing;
  }

  #forget(waiting: CallInRoom): boolean {
    clearTimeout(waiting.deadline);
    return this.#waiting.remove(waiting);
  }

  /** Gives back what was granted (`isGranted`), or may have been, and lets the next one have it. */
  async #release({ call }: CallInRoom, isGranted: boolean): Promise<void> {
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
    const { arrivals } = this.#waiting;
    try {
      const { waiting, generation } = decodePumped(await this.#requests.send({ letter: "p", args: [] }));
      this.#told(generation);
      if (!this.#waiting.beat(arrivals, waiting)) return this.#giveUp("Redis has forgotten calls that wait");
    } catch {
      return this.#giveUp("Redis does not answer");
    }
    if (this.#waiting.size > 0) this.#beat ??= setTimeout(() => void this.#keepAlive(), BEAT_MS);
  }

  /** Ends every wait: nobody can say what was granted meanwhile. */
  #giveUp(reason: string): void {
    clearTimeout(this.#beat);
    this.#beat = undefined;
    this.#requests.forgetDue();
    this.#abandoned.clear();
    this.#listening = undefined;
    this.#gateway = newGateway(this.#link);
    const error = new OperationalError("store_unavailable", reason, { retryAfterMs: BEAT_MS });
    for (const waiting of this.#waiting.clear()) {
      clearTimeout(waiting.deadline);
      if (waiting.hasLeft) void this.#release(waiting, false);
      else waiting.failed(error);
    }
  }
}

/** The room knows by the first letter whether it can see that a gateway listens. */
const newGateway = ({ isCluster }: RoomLink) => `${isCluster ? "c" : "s"}${randomInt(1, GATEWAY_MAX)}`;
