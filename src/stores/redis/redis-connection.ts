import type { Buffer } from "node:buffer";
import { Cluster, Redis, type RedisOptions, ReplyError } from "ioredis";
import { OperationalError } from "../../core/operational-error.ts";
import type { Telemetry } from "../../ports/telemetry.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";
import { DeadlineQueue } from "./deadline-queue.ts";
import type { RedisAddress } from "./redis-url.ts";
import { RefusalLog } from "./refusal-log.ts";
import type { RedisScript } from "./scripts.ts";
import { checkServer } from "./server-check.ts";

/** How soon a lost connection is tried again: often enough that nobody notices that the server is back, seldom enough not to burden it. */
const RECONNECT_MS = 100;
/** How often a place that does not answer is asked whether it does. */
const PROBE_MS = 100;
/** A connection that stays silent for this long although an answer is due is given up for a new one: the network may have lost it. */
const SILENCE_MS_MAX = 2_000;
/** How often a cluster is asked who owns its slots: they move in a failover, and calls that go to the old owner fail. */
const SLOTS_REFRESH_MS = 2_000;
/** Whether a caller tries again is for the caller to decide. */
const RETRY_AFTER_MS = 1_000;

/** Answers that the next connection may not give: the server is a replica now, or still reading its data. */
const isAnotherServersTurn = (error: Error) => /READONLY|MASTERDOWN/.test(error.message);

const CONNECTION = {
  // What is not sent at once is not sent at all: the caller has been told that it failed (L12).
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  connectTimeout: SILENCE_MS_MAX,
  socketTimeout: SILENCE_MS_MAX,
  reconnectOnError: isAnotherServersTurn,
  protocol: 2,
} as const satisfies RedisOptions;

function connect(address: RedisAddress): Redis | Cluster {
  if (address.kind === "single") {
    return new Redis(address.url, {
      ...CONNECTION,
      enableOfflineQueue: false,
      lazyConnect: true,
      retryStrategy: () => RECONNECT_MS,
    });
  }
  const { username, password } = address;
  return new Cluster([...address.nodes], {
    enableOfflineQueue: false,
    lazyConnect: true,
    clusterRetryStrategy: () => RECONNECT_MS,
    slotsRefreshTimeout: SILENCE_MS_MAX,
    redisOptions: {
      ...CONNECTION,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(address.tls ? { tls: {} } : {}),
    },
  });
}

export interface RedisConnectionOptions {
  readonly address: RedisAddress;
  /** The longest that a call may take, in milliseconds. */
  readonly deadlineMs: number;
  readonly telemetry: Telemetry;
  /** Those that will be run. */
  readonly scripts: readonly RedisScript[];
  /** For each place that may fail by itself a key that is there. */
  readonly probeKeys: readonly string[];
}

/**
 * Scripts on Redis, each answered or failed within the deadline. Nothing is queued for a server that is away. Whatever goes wrong is an
 * `OperationalError` `store_unavailable` with the reason as its cause; whether the script ran is then unknown (L12).
 */
export class RedisConnection {
  readonly #client: Redis | Cluster;
  readonly #deadlines: DeadlineQueue;
  readonly #options: RedisConnectionOptions;
  readonly #breakers: readonly CircuitBreaker[];
  readonly #refusals: RefusalLog;
  readonly #probes: (NodeJS.Timeout | undefined)[] = [];
  readonly #slotsRefresh: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;
  #unusable: string | undefined;
  #closed = false;
  #wasLost = false;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#refusals = new RefusalLog(options.telemetry);
    this.#deadlines = new DeadlineQueue(options.deadlineMs);
    this.#breakers = options.probeKeys.map(() => new CircuitBreaker());
    this.#client = connect(options.address);
    // Each failed call is told to its caller; here only what changed is worth a line.
    this.#client.on("error", (error: Error) => this.#lost(error));
    this.#client.on("close", () => this.#lost(undefined));
    this.#client.on("ready", () => this.#ready());
    this.#slotsRefresh = refreshSlots(this.#client);
  }

  get isCluster(): boolean {
    return "nodes" in this.#client;
  }

  /** Begins to connect, for good; resolves when connected or after `waitMs`, whichever comes first. Never rejects (L12). */
  async start(waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const waited = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    const ready = new Promise<void>((resolve) => void this.#client.once("ready", () => resolve()));
    this.#client.connect().catch(() => {});
    await Promise.race([ready, waited]);
    clearTimeout(timer);
  }

  /** Runs a script at a place: one round trip. The reply's strings are buffers. */
  run(
    place: number,
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | Buffer)[],
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const breaker = this.#breakers[place];
      if (this.#unusable !== undefined) return reject(unavailable(this.#unusable));
      if (this.#client.status !== "ready") return reject(unavailable("there is no connection to Redis"));
      if (breaker.isOpen) return reject(unavailable("Redis does not answer"));
      const deadline = this.#deadlines.begin(() => {
        this.#failed(place);
        reject(unavailable(`Redis did not answer within ${this.#options.deadlineMs} ms`));
      });
      const succeed = (reply: unknown) => {
        if (breaker.answered()) this.#recovered();
        if (deadline.settled) return;
        deadline.settled = true;
        resolve(reply);
      };
      const fail = (error: Error) => {
        // An answer is an answer, even if it is an error.
        const isAnswer = error instanceof ReplyError;
        if (isAnswer) this.#refusals.refused(error, performance.now());
        if (isAnswer && breaker.answered()) this.#recovered();
        if (deadline.settled) return;
        deadline.settled = true;
        if (!isAnswer) this.#failed(place);
        reject(unavailable("Redis could not run a script", error));
      };
      this.#client
        .callBuffer("evalsha", script.sha, keys.length, ...keys, ...args)
        .then(succeed, (error: Error) => {
          if (!error.message.startsWith("NOSCRIPT") || deadline.settled) return fail(error);
          this.#client.callBuffer("eval", script.source, keys.length, ...keys, ...args).then(succeed, fail);
        });
    });
  }

  /**
   * Delivers what is published to a channel. Rejects with `store_unavailable` where that cannot be had within the deadline; calls `lost` once when it may have missed
   * something, and delivers nothing from then on. The channel before it is given up.
   */
  async subscribe(channel: string, onMessage: (message: Buffer) => void, lost: () => void): Promise<void> {
    this.#unsubscribe?.();
    const client = this.#client;
    if (client.status !== "ready") throw unavailable("there is no connection to Redis");
    // A Redis that hangs would keep every caller for the whole deadline, and have a connection more from each.
    if (this.#breakers.every((breaker) => breaker.isOpen)) throw unavailable("Redis does not answer");
    const subscriber =
      "nodes" in client ? client.duplicate() : client.duplicate({ enableOfflineQueue: true });
    const end = () => {
      subscriber.removeAllListeners();
      subscriber.on("error", () => {});
      subscriber.disconnect();
      if (this.#unsubscribe === end) this.#unsubscribe = undefined;
    };
    this.#unsubscribe = end;
    subscriber.on("messageBuffer", (_channel: Buffer, message: Buffer) => onMessage(message));
    subscriber.on("error", () => {});
    try {
      await within(
        this.#options.deadlineMs,
        subscriber.connect().then(() => subscriber.subscribe(channel)),
      );
    } catch (error) {
      end();
      throw unavailable("Redis did not let a channel be subscribed to", error);
    }
    subscriber.on("close", () => {
      end();
      lost();
    });
  }

  /** What is under way fails. */
  close(): void {
    this.#unsubscribe?.();
    this.#closed = true;
    for (const probe of this.#probes) clearTimeout(probe);
    clearInterval(this.#slotsRefresh);
    this.#client.disconnect();
  }

  #ready(): void {
    if (this.#wasLost) this.#options.telemetry.log("info", "connected to Redis again");
    this.#wasLost = false;
    const servers = "nodes" in this.#client ? this.#client.nodes("master") : [this.#client];
    for (const server of servers) {
      // Only spares the first calls a round trip: a server that has lost its scripts says so.
      for (const { source } of this.#options.scripts) server.script("LOAD", source).catch(() => {});
    }
    checkServer(servers, this.#options.telemetry).then(
      (problem) => {
        this.#unusable = problem;
      },
      // It was lost again.
      () => {},
    );
    for (const breaker of this.#breakers) breaker.answered();
  }

  #lost(error: Error | undefined): void {
    if (this.#closed || this.#wasLost || this.#client.status === "ready") return;
    this.#wasLost = true;
    const details = error === undefined ? {} : { reason: error.message };
    this.#options.telemetry.log("warn", "no connection to Redis", details);
  }

  #failed(place: number): void {
    if (!this.#breakers[place].failed()) return;
    this.#options.telemetry.log("warn", "Redis does not answer");
    this.#probe(place);
  }

  #recovered(): void {
    this.#options.telemetry.log("info", "Redis answers again");
  }

  /** Asks until there is an answer; the connection's own silence limit ends questions that get none. */
  #probe(place: number): void {
    const breaker = this.#breakers[place];
    const again = () => {
      if (this.#closed || !breaker.isOpen) return;
      this.#probes[place] = setTimeout(() => this.#probe(place), PROBE_MS).unref();
    };
    if (this.#client.status !== "ready") {
      again();
      return;
    }
    const deadline = this.#deadlines.begin(again);
    this.#client.exists(this.#options.probeKeys[place]).then(
      () => {
        deadline.settled = true;
        if (breaker.answered()) this.#recovered();
      },
      () => {
        if (deadline.settled) return;
        deadline.settled = true;
        again();
      },
    );
  }
}

/**
 * Not by the client's own `slotsRefreshInterval`: that begins anew after a `disconnect` that comes while the slots are asked for, and
 * then never ends, nor does the process.
 */
function refreshSlots(client: Redis | Cluster): NodeJS.Timeout | undefined {
  if (!("nodes" in client)) return undefined;
  const refresh = () => {
    if (client.status === "ready") client.refreshSlotsCache();
  };
  return setInterval(refresh, SLOTS_REFRESH_MS).unref();
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(message: string, cause?: unknown): OperationalError {
  return new OperationalError("store_unavailable", message, { cause, retryAfterMs: RETRY_AFTER_MS });
}
