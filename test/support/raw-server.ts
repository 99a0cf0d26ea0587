import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/** A server that says what a test wants, byte by byte. */
export interface RawServer {
  readonly origin: string;
  readonly port: number;
  /** Connections so far, closed ones included. */
  readonly sockets: readonly Socket[];
  close(): Promise<void>;
}

/** `onConnection` gets each connection, with its number from 0. Errors of sockets are of no interest here. */
export async function startRawServer(
  onConnection: (socket: Socket, index: number) => void,
  server: Server = createServer(),
  scheme = "http",
): Promise<RawServer> {
  const sockets: Socket[] = [];
  server.on(scheme === "https" ? "secureConnection" : "connection", (socket: Socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
    onConnection(socket, sockets.length - 1);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    origin: `${scheme}://127.0.0.1:${port}`,
    port,
    sockets,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Calls back with each request whose body has a `content-length` or none: its head, and its body. */
export function onRequests(socket: Socket, onRequest: (head: string, body: string) => void): void {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (end === -1) return;
      const length = Number(/\r\ncontent-length: (\d+)/.exec(text.slice(0, end + 2))?.[1] ?? 0);
      const next = end + 4 + length;
      if (text.length < next) return;
      const [head, body] = [text.slice(0, end), text.slice(end + 4, next)];
      text = text.slice(next);
      onRequest(head, body);
    }
  });
}
