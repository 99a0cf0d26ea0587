import { connect, createServer, type Server, type Socket } from "node:net";

/** What the proxy does with what the server answers. */
export type ProxyMode = "pass" | "swallow replies" | "refuse";

/**
 * A TCP proxy on a free loopback port that can lose replies: requests arrive and are carried out, their answers never come back. Whoever
 * starts it calls `stop`.
 */
export class TcpProxy {
  readonly port: number;
  /** Resolves each time when the server has answered something that was swallowed. */
  swallowed = 0;
  #mode: ProxyMode = "pass";
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #waiting: (() => void)[] = [];

  /** Use `startTcpProxy`. */
  constructor(server: Server, port: number, sockets: Set<Socket>) {
    this.#server = server;
    this.port = port;
    this.#sockets = sockets;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  set mode(mode: ProxyMode) {
    this.#mode = mode;
    if (mode === "refuse") this.cut();
  }

  /** Resolves when the next answer has been swallowed. */
  nextSwallowed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  noteSwallowed(): void {
    this.swallowed += 1;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has no port");
  const proxy = new TcpProxy(server, address.port, sockets);
  server.on("connection", (client) => {
    if (proxy.mode === "refuse") {
      client.destroy();
      return;
    }
    const target = connect(targetPort, "127.0.0.1");
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => target.write(bytes));
    target.on("data", (bytes) => {
      if (proxy.mode === "pass") client.write(bytes);
      else proxy.noteSwallowed();
    });
  });
  return proxy;
}
