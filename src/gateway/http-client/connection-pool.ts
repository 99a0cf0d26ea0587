import type { Call } from "./call.ts";
import { ClientError } from "./client-error.ts";
import { Connection, type ConnectionOptions, type ConnectionOwner } from "./connection.ts";

/**
 * The connections to one origin. A call takes the idle connection that was used last (its TCP window is open, and the others can grow old and
 * close), else a new one, else waits its turn.
 */
export class ConnectionPool implements ConnectionOwner {
  readonly #options: ConnectionOptions;
  readonly #connectionsMax: number;
  readonly #open = new Set<Connection>();
  readonly #idle: Connection[] = [];
  /** In the order of their arrival, which a Set keeps. */
  readonly #waiting = new Set<Call>();
  #isClosed = false;

  constructor(options: ConnectionOptions, connectionsMax: number) {
    this.#options = options;
    this.#connectionsMax = connectionsMax;
  }

  get isEmpty(): boolean {
    return this.#open.size === 0 && this.#waiting.size === 0;
  }

  send(call: Call): void {
    const connection = this.#takeIdle();
    if (connection !== undefined) {
      connection.start(call);
      return;
    }
    if (this.#open.size < this.#connectionsMax) {
      this.#open.add(new Connection(this.#options, this, call));
      return;
    }
    call.deadlineMs = performance.now() + call.deadlines.answerMs;
    call.onGone = () => this.#waiting.delete(call);
    this.#waiting.add(call);
  }

  onFree(connection: Connection): void {
    const next = this.#nextWaiting();
    if (next === undefined) this.#idle.push(connection);
    else if (connection.isUsable(performance.now())) connection.start(next);
    else {
      // It was the last answer's `keep-alive` that has ended it.
      connection.destroy();
      this.send(next);
    }
  }

  /** The one case in which a call is sent again: nothing of it has gone out. Each time a kept connection less, so it ends. */
  onRefused(call: Call): void {
    if (this.#isClosed) call.fail(new ClientError("client_closed", "the client was closed"));
    else this.send(call);
  }

  onClosed(connection: Connection): void {
    this.#open.delete(connection);
    const at = this.#idle.lastIndexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    if (this.#isClosed || this.#open.size >= this.#connectionsMax) return;
    const next = this.#nextWaiting();
    if (next !== undefined) this.send(next);
  }

  /** Ends what has waited too long. */
  checkDeadlines(nowMs: number): void {
    for (const connection of this.#open) if (connection.deadlineMs <= nowMs) connection.onDeadline();
    for (const call of this.#waiting) {
      if (call.deadlineMs > nowMs) continue;
      call.fail(new ClientError("queue_timeout", `all ${this.#connectionsMax} connections were busy`));
    }
  }

  /** Closes idle connections, and fails calls on their way with `client_closed`. */
  close(): void {
    this.#isClosed = true;
    const error = () => new ClientError("client_closed", "the client was closed");
    for (const call of this.#waiting) call.fail(error());
    for (const connection of this.#open) connection.fail(error());
  }

  #takeIdle(): Connection | undefined {
    const nowMs = performance.now();
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isUsable(nowMs)) return connection;
      connection.destroy();
    }
    return undefined;
  }

  #nextWaiting(): Call | undefined {
    for (const call of this.#waiting) {
      this.#waiting.delete(call);
      call.onGone = undefined;
      return call;
    }
    return undefined;
  }
}
