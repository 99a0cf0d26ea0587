import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { FAILURE_STATUS, failureMessage } from "../core/failure-answer.ts";
import { OpenList } from "../core/open-list.ts";
import { OperationalError } from "../core/operational-error.ts";
import type { Engine } from "../engine/engine.ts";
import type { HttpAnswer } from "../ports/provider-format.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import type { Exchange } from "./exchange.ts";
import { forwardCall } from "./forward-call.ts";
import type { GatewaySettings } from "./gateway-settings.ts";
import type { ClientRequest, ClientResponse } from "./http-server/client-call.ts";
import { HttpServer } from "./http-server/http-server.ts";
import { identify } from "./identify.ts";
import { limitsAnswer } from "./limits-answer.ts";
import { ownAnswer, ownFailure, sendAnswer } from "./own-answer.ts";
import { type Route, routeOf } from "./route.ts";
import { Upstream } from "./upstream.ts";
import { WriteBurst } from "./write-burst.ts";

/** What `GET /metrics` shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** Calls in flight are settled within the store's own deadline. */
const SETTLE_MS_MAX = 5_000;

/** The data port: routes requests, and owns connections on both sides. Calls in flight are settled before it is closed (X6). */
export class Gateway {
  readonly #engine: Engine;
  readonly #telemetry: Telemetry;
  readonly #metrics: MetricsPage;
  readonly #server: HttpServer;
  readonly #upstream: Upstream;
  readonly #exchanges = new OpenList<Exchange>();
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
    const burst = new WriteBurst();
    this.#upstream = new Upstream(burst);
    this.#server = new HttpServer(
      options.settings.bounds,
      (request, response) => this.#handle(request, response),
      burst,
      (error) => this.#telemetry.log("error", "a connection could not be taken", { error: error.message }),
    );
  }

  /** Resolves with where it listens; rejects when it cannot. */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    return this.#server.listen(host, port);
  }

  /** Calls from now on go by these. Bounds of the server itself (header bytes, connections) stay until the next start. */
  useSettings(settings: GatewaySettings): void {
    this.#settings = settings;
    this.#server.useStalledMsMax(settings.bounds.stalledMsMax);
    this.#engine.usePolicy(settings.policy);
  }

  /** Takes no more connections, waits for calls in flight up to the configured time, cuts and settles the rest. */
  async close(): Promise<void> {
    this.#isDraining = true;
    const closed = this.#server.drain();
    await this.#untilIdle(this.#settings.bounds.drainTimeoutMs);
    this.#engine.turnAllAway();
    // Their answers go out in this turn of the loop.
    await setImmediate();
    for (const exchange of this.#exchanges.all()) exchange.abort();
    this.#server.destroy();
    await this.#untilIdle(SETTLE_MS_MAX);
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

  #handle(request: ClientRequest, response: ClientResponse): void {
    this.#requests += 1;
    this.#open += 1;
    const requestId = `${this.#idPrefix}${this.#requests.toString(36)}`;
    const settings = this.#settings;
    const route = routeOf(settings.providers, request.url, request.headers);
    // Done is what is settled and has left for the client altogether (X6).
    let parts = 2;
    const partDone = () => {
      parts -= 1;
      if (parts === 0) this.#done();
    };
    response.onLeft(partDone);
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
    work.then(partDone, (error: unknown) => {
      this.#answerBug(error, response, requestId);
      partDone();
    });
  }

  /** A bug, not a failure: the client learns no more than that, the operator everything. */
  #answerBug(error: unknown, response: ClientResponse, requestId: string): void {
    this.#telemetry.log("error", "a request ended in an unexpected error", {
      requestId,
      error: error instanceof Error ? error.stack : String(error),
    });
    if (response.hasHead) response.destroy();
    else sendAnswer(response, ownFailure(500, "internal_error", "an unexpected error", requestId));
  }

  async #answerOwn(
    route: Exclude<Route, { kind: "provider" }>,
    request: ClientRequest,
    response: ClientResponse,
    requestId: string,
  ): Promise<void> {
    request.discard();
    sendAnswer(response, await this.#ownAnswer(route, request, requestId));
  }

  async #ownAnswer(
    route: Exclude<Route, { kind: "provider" }>,
    request: ClientRequest,
    requestId: string,
  ): Promise<HttpAnswer> {
    if (
      route.kind !== "not_found" &&
      route.kind !== "bad_target" &&
      request.method !== "GET" &&
      request.method !== "HEAD"
    ) {
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
      case "bad_target":
        return ownFailure(
          400,
          "invalid_request",
          "the request's target must not hold a fragment (#) or escaped control characters",
          requestId,
        );
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

  async #limits(request: ClientRequest, requestId: string): Promise<HttpAnswer> {
    try {
      const caller = identify(this.#settings.identification, request.headers, request.remoteAddress);
      const url = new URL(request.url, "http://localhost");
      const model = url.searchParams.get("model") ?? "";
      const [limits, waiting] = await Promise.all([
        this.#engine.limits(caller, { model }),
        this.#engine.waitingOf(caller),
      ]);
      return limitsAnswer(caller, limits, waiting, requestId);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      return ownFailure(FAILURE_STATUS[error.code], error.code, failureMessage(error), requestId);
    }
  }
}
