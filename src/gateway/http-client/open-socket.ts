import { connect, isIP, type Socket, type TcpNetConnectOpts } from "node:net";
import {
  type ConnectionOptions,
  connect as connectTls,
  createSecureContext,
  type SecureContext,
} from "node:tls";

/** Called for each read, with a buffer that is good until it returns; false stops reading. */
export type OnRead = (byteCount: number, buffer: Buffer) => boolean;

/** What a URL's origin says about how to connect. */
export interface Origin {
  readonly isTls: boolean;
  /** As the resolver wants it: an IPv6 address without its brackets. */
  readonly hostname: string;
  readonly port: number;
  /** For the `host` header: with the port where it is not the scheme's own. */
  readonly host: string;
}

/** As much as one read of a socket brings at most; what libuv itself takes. */
const READ_BYTES_MAX = 65_536;
/** So that a network that has forgotten a connection is noticed, or does not forget it. */
const TCP_KEEP_ALIVE_MS = 60_000;

const HTTP_PORT = 80;
const HTTPS_PORT = 443;

/** Throws a `TypeError` when `origin` is not an origin of http or https: a mistake in the code, since the configuration has checked it. */
export function parseOrigin(origin: string): Origin {
  const url = new URL(origin);
  const isTls = url.protocol === "https:";
  if (!isTls && url.protocol !== "http:") throw new TypeError(`not an origin of http or https: ${origin}`);
  const hostname = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  return {
    isTls,
    hostname,
    port: url.port === "" ? (isTls ? HTTPS_PORT : HTTP_PORT) : Number(url.port),
    host: url.host,
  };
}

/**
 * Opens sockets, plain and TLS. All of them read into one buffer, since a read is consumed before the next one begins. IPv4 and IPv6 are tried
 * side by side (Node's `autoSelectFamily`); TLS proves the server's name, offers http/1.1, and resumes sessions of the same origin.
 */
export class SocketOpener {
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX);
  readonly #ca: string | Buffer | undefined;
  #secureContext: SecureContext | undefined;

  /** `ca`: certificates to trust in place of the well-known ones, PEM. */
  constructor(ca: string | Buffer | undefined) {
    this.#ca = ca;
  }

  /** A function that opens sockets to the origin, with TLS sessions of its own. */
  to(origin: Origin): (onRead: OnRead) => Socket {
    const { hostname, port, isTls } = origin;
    const base = {
      host: hostname,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    };
    const onread = (callback: OnRead) => ({
      buffer: this.#buffer,
      callback: (byteCount: number, buffer: Uint8Array) => callback(byteCount, buffer as Buffer),
    });
    if (!isTls) return (onRead) => connect({ ...base, onread: onread(onRead) });
    let session: Buffer | undefined;
    return (onRead) => {
      // A context holds the parsed root certificates: milliseconds to make, so one for all.
      this.#secureContext ??= createSecureContext(this.#ca === undefined ? {} : { ca: this.#ca });
      // The types know `onread` for plain sockets only.
      const options: ConnectionOptions & Pick<TcpNetConnectOpts, "onread"> = {
        ...base,
        onread: onread(onRead),
        secureContext: this.#secureContext,
        ALPNProtocols: ["http/1.1"],
        // An address is no name to indicate (RFC 6066, section 3).
        ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
        ...(session === undefined ? {} : { session }),
      };
      const socket = connectTls(options);
      socket.on("session", (fresh: Buffer) => {
        session = fresh;
      });
      // A session that the server chokes on must not be offered again.
      socket.on("error", () => {
        session = undefined;
      });
      return socket;
    };
  }
}
