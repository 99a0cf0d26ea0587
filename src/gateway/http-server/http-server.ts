import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WriteBurst } from "../write-burst.ts";
import { answerBrokenRequest } from "./broken-request.ts";
import type { ClientRequest, ClientResponse } from "./client-call.ts";
import { NodeRequest, NodeResponse } from "./node-call.ts";
import { type ConnectionOwner, PlainConnection } from "./plain-connection.ts";

/** Everything about a client's connection that has a limit (X3). */
export interface HttpServerBounds {
  readonly headerBytesMax: number;
  readonly connectionsMax: number;
  /** To receive a request, head and body. */
  readonly requestTimeoutMs: number;
  /** Without a byte in either direction while a call is open. */
  readonly stalledMsMax: number;
}

export type RequestHandler = (request: ClientRequest, response: ClientResponse) => void;

/** How often the server looks for requests that take too long: often enough for timeouts of seconds, seldom enough to cost nothing. */
const TIMEOUT_CHECK_MS = 5_000;
/** For answers that are the last of their connection and such. */
const TICK_MS = 500;
/** Longer than the idle time of the load balancers in front (60 s is usual), so that they never send into a closing connection. */
const KEEP_ALIVE_MS = 75_000;

/**
 * The data port's side of HTTP/1.1. A connection begins with the plain parser, and stays there as long as it sends plain requests; `node:http` takes over
 * whatever is more than that, byte for byte, so that unusual HTTP is read by the parser that has seen it all (docs/decisions/0008).
 */
export class HttpServer implements ConnectionOwner {
  readonly #server: Server;
  #bounds: HttpServerBounds & { readonly keepAliveMs: number };
  readonly #handler: RequestHandler;
  readonly #takeOver: (socket: Socket) => void;
  readonly #plain = new Set<PlainConnection>();
  readonly #timer: NodeJS.Timeout;
  readonly #burst: WriteBurst;
  readonly #onRefused: (error: Error) => void;
  #isDraining = false;

  /** `burst`: when small answers go out. `onRefused`: the system would not give it a connection; it goes on. */
  constructor(
    bounds: HttpServerBounds,
    handler: RequestHandler,
    burst = new WriteBurst(),
    onRefused: (error: Error) => void = () => {},
  ) {
    this.#onRefused = onRefused;
    this.#burst = burst;
    this.#bounds = { ...bounds, keepAliveMs: KEEP_ALIVE_MS };
    this.#handler = handler;
    const server = createServer(
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
    server.on("checkContinue", (request, response) => this.#accept(request, response));
    server.maxConnections = bounds.connectionsMax;
    server.timeout = bounds.stalledMsMax;
    server.on("clientError", answerBrokenRequest);
    const listeners = server.listeners("connection");
    this.#takeOver = (socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    server.removeAllListeners("connection");
    server.on("connection", (socket) => this.#onConnection(socket));
    this.#server = server;
    this.#timer = setInterval(() => this.#onTick(), Math.min(TICK_MS, bounds.requestTimeoutMs)).unref();
  }

  /** How long a connection may stand still, from the next one on. */
  useStalledMsMax(stalledMsMax: number): void {
    this.#bounds = { ...this.#bounds, stalledMsMax };
    this.#server.timeout = stalledMsMax;
  }

  /** Resolves with where it listens; rejects when it cannot. */
  async listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        // An error that nobody listens to would end the process, with every call under way.
        this.#server.on("error", this.#onRefused);
        resolve();
      });
    });
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  /** Takes no more connections; those without a call end now, the others with their answer. Resolves when all have ended. */
  drain(): Promise<void> {
    this.#isDraining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    for (const connection of this.#plain) connection.drain();
    return closed;
  }

  /** Cuts every connection. */
  destroy(): void {
    clearInterval(this.#timer);
    this.#server.closeAllConnections();
    for (const connection of this.#plain) connection.destroy();
  }

  onRequest(request: ClientRequest, response: ClientResponse): void {
    this.#handler(request, response);
  }

  onUnusual(connection: PlainConnection, socket: Socket, bytes: Buffer): void {
    this.#plain.delete(connection);
    // A paused stream keeps what is put back until it flows again, which it does once somebody else listens.
    socket.pause();
    socket.unshift(bytes);
    this.#takeOver(socket);
    socket.resume();
  }

  onLateRequest(socket: Socket): void {
    const error = Object.assign(new Error("the request did not arrive in time"), {
      code: "ERR_HTTP_REQUEST_TIMEOUT",
    });
    answerBrokenRequest(error, socket);
  }

  onClosed(connection: PlainConnection): void {
    this.#plain.delete(connection);
  }

  #onConnection(socket: Socket): void {
    this.#plain.add(new PlainConnection(socket, this, this.#bounds, this.#burst));
  }

  #onTick(): void {
    const nowMs = performance.now();
    for (const connection of this.#plain) if (connection.deadlineMs <= nowMs) connection.onDeadline();
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
    if (this.#isDraining) response.shouldKeepAlive = false;
    this.#handler(new NodeRequest(request, response), new NodeResponse(response));
  }
}
