import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { OperationalError } from "../core/operational-error.ts";
import type { Engine } from "../engine/engine.ts";
import type { HttpAnswer } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { answerBrokenRequest } from "./broken-request.ts";
import type { Exchange } from "./exchange.ts";
import { forwardCall } from "./forward-call.ts";
import type { GatewaySettings } from "./gateway-settings.ts";
import { identify } from "./identify.ts";
import { limitsAnswer } from "./limits-answer.ts";
import { ownAnswer, ownFailure, sendAnswer } from "./own-answer.ts";
import { type Route, routeOf } from "./route.ts";
import { Upstream } from "./upstream.ts";

/** What `GET /metrics` shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** How often the server looks for requests that take too long: often enough for timeouts of seconds, seldom enough to cost nothing. */
const TIMEOUT_CHECK_MS = 5_000;
/** Longer than the idle time of the load balancers in front (60 s is usual), so that they never send into a closing connection. */
const KEEP_ALIVE_MS = 75_000;

/** The data port: routes requests, and owns connections on both sides. Calls in flight are settled before it is closed (X6). */
export class Gateway {
  readonly #engine: Engine;
  readonly #telemetry: Telemetry;
  readonly #metrics: MetricsPage;
  readonly #server: Server;
  readonly #upstream = new Upstream();
  readonly #exchanges = new Set<Exchange>();
  readonly #idPrefix = `req_${randomBytes(6).toString("hex")}`;
  #settings: GatewaySettings;
  #requests = 0;
  #open = 0;
  #isDraining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: {
    readonly settings: GatewaySettings;
    readonly engine: Engine;
    readonly telemetry: Telemetry;
    readonly metrics: MetricsPage;
  }) {
    this.#settings = options.settings;
    this.#engine = options.engine;
    this.#telemetry = options.telemetry;
    this.#metrics = options.metrics;
    const { bounds } = options.settings;
    this.#server = createServer(
      {
        maxHeaderSize: bounds.headerBytesMax,
        requestTimeout: bounds.requestTimeoutMs,
        headersTimeout: bounds.requestTimeoutMs,
        connectionsCheckingInterval: Math.min(TIMEOUT_CHECK_MS, bounds.requestTimeoutMs),
        keepAliveTimeout: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (request, response) => this.#accept(request, response),
    );
    // Whether a body is wanted is decided before it is asked for.
    this.#server.on("checkContinue", (request, response) => this.#accept(request, response));
    this.#server.maxConnections = bounds.connectionsMax;
    this.#server.timeout = bounds.stalledMsMax;
    this.#server.on("clientError", answerBrokenRequest);
  }

  /** Resolves with where it listens; rejects when it cannot. */
  async listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  /** Calls from now on go by these. Bounds of the server itself (header bytes, connections) stay until the next start. */
  useSettings(settings: GatewaySettings): void {
    this.#settings = settings;
    this.#engine.usePolicy(settings.policy);
  }

  /** Takes no more connections, waits for calls in flight up to the configured time, cuts and settles the rest. */
  async close(): Promise<void> {
    this.#isDraining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await this.#untilIdle(this.#settings.bounds.drainTimeoutMs);
    for (const exchange of this.#exchanges) exchange.abort();
    this.#server.closeAllConnections();
    // Settling is bounded by the store's own deadline.
    await this.#untilIdle(5_000);
    await closed;
    this.#upstream.close();
  }

  #untilIdle(timeoutMs: number): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #done(): void {
    this.#open -= 1;
    if (this.#open === 0) this.#onIdle?.();
  }

  /**
   * Pipelined requests are handled one after the other: one whose answer waits for the connection would not hear of its end, and could hold what it holds
   * for good.
   */
  #accept(request: IncomingMessage, response: ServerResponse): void {
    if (response.socket === null) response.once("socket", () => this.#handle(request, response));
    else this.#handle(request, response);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    this.#requests += 1;
    this.#open += 1;
    const requestId = `${this.#idPrefix}${this.#requests.toString(36)}`;
    if (this.#isDraining) response.shouldKeepAlive = false;
    const settings = this.#settings;
    const route = routeOf(settings.providers, request.url ?? "/", request.headers);
    // Done is what is settled and has left for the client altogether (X6).
    const left = response.destroyed ? undefined : new Promise((resolve) => response.once("close", resolve));
    const work =
      route.kind === "provider"
        ? forwardCall({
            request,
            response,
            route,
            requestId,
            settings,
            engine: this.#engine,
            telemetry: this.#telemetry,
            upstream: this.#upstream,
            exchanges: this.#exchanges,
          })
        : this.#answerOwn(route, request, response, requestId);
    work
      .catch((error: unknown) => {
        // A bug, not a failure: the client learns no more than that, the operator everything.
        this.#telemetry.log("error", "a request ended in an unexpected error", {
          requestId,
          error: error instanceof Error ? error.stack : String(error),
        });
        if (response.headersSent) response.destroy();
        else sendAnswer(response, ownFailure(500, "internal_error", "an unexpected error", requestId));
      })
      .then(() => left)
      .finally(() => this.#done());
  }

  async #answerOwn(
    route: Exclude<Route, { kind: "provider" }>,
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
  ): Promise<void> {
    request.resume();
    sendAnswer(response, await this.#ownAnswer(route, request, requestId));
  }

  async #ownAnswer(
    route: Exclude<Route, { kind: "provider" }>,
    request: IncomingMessage,
    requestId: string,
  ): Promise<HttpAnswer> {
    if (route.kind !== "not_found" && request.method !== "GET" && request.method !== "HEAD") {
      return ownFailure(405, "invalid_request", `${request.url} takes GET only`, requestId);
    }
    switch (route.kind) {
      case "health":
        return ownAnswer(200, { status: "ok" }, requestId);
      case "readiness":
        return this.#isDraining
          ? ownAnswer(503, { status: "draining" }, requestId)
          : ownAnswer(200, { status: "ready" }, requestId);
      case "metrics":
        return this.#metricsAnswer();
      case "limits":
        return this.#limits(request, requestId);
      case "not_found":
        return ownFailure(
          404,
          "invalid_request",
          `there is nothing here; calls go to /v1/… or to /PROVIDER/… with one of: ${[...this.#settings.providers.keys()].join(", ")}`,
          requestId,
        );
    }
  }

  async #metricsAnswer(): Promise<HttpAnswer> {
    const body = Buffer.from(await this.#metrics.render());
    return {
      status: 200,
      headers: ["content-type", this.#metrics.contentType, "content-length", String(body.length)],
      body,
    };
  }

  async #limits(request: IncomingMessage, requestId: string): Promise<HttpAnswer> {
    try {
      const caller = identify(
        this.#settings.identification,
        request.headers,
        request.socket.remoteAddress ?? "",
      );
      const url = new URL(request.url ?? "/", "http://localhost");
      const model = url.searchParams.get("model") ?? "";
      return limitsAnswer(caller, await this.#engine.limits(caller, { model }), requestId);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      const status = error.code === "store_unavailable" ? 503 : error.code === "invalid_key" ? 401 : 400;
      return ownFailure(status, error.code, error.message, requestId);
    }
  }
}
