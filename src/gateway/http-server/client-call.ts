import type { RawHeaders } from "../../ports/provider-format.ts";
import type { RequestBody } from "../http-client/http-request.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** A client's request, whichever parser has read it. */
export interface ClientRequest {
  readonly method: string;
  /** Path and query, as the client wrote them. */
  readonly url: string;
  readonly headers: RequestHeaders;
  /** The other end's address. */
  readonly remoteAddress: string;
  /** Whether all of its body has come. */
  readonly isComplete: boolean;
  /** Whether the rest of it will never come. */
  readonly isBroken: boolean;
  /**
   * All of the body, at once where it is here. Rejects with an `OperationalError`: `body_too_large`, or `invalid_request` when the client goes away in the
   * middle; the server's `requestTimeoutMs` is its deadline.
   */
  readBody(bytesMax: number): Buffer | Promise<Buffer>;
  /** The body as it comes, counted: the stream fails with `body_too_large` beyond `bytesMax`. Null where there is none. */
  passBody(bytesMax: number): RequestBody;
  /** Reads what is left of the body, and drops it. */
  discard(): void;
}

/** Is told of what happens to an answer on its way. */
export interface ResponseListener {
  /** After a `write` that returned false: the client has taken what there was. */
  onDrain(): void;
  /** The client has gone before the answer was whole, or `destroy` was called. May come after the end, too: then it means nothing. */
  onGone(): void;
}

/** The answer to a request. */
export interface ClientResponse {
  /** Nobody is there to read it. */
  readonly isGone: boolean;
  readonly hasHead: boolean;
  /** One listener; a later one takes the place of an earlier one. */
  listen(listener: ResponseListener): void;
  /** Called once, when the answer has left for the client altogether, or never will. */
  onLeft(callback: () => void): void;
  /** The connection ends with this answer. To be called before the head is written; also what is right where the request has not come whole. */
  closeAfter(): void;
  /** Goes out with the first part of the body, or with `flushHead`. Without a `content-length` the body's end is marked by chunks. */
  writeHead(status: number, headers: RawHeaders): void;
  flushHead(): void;
  /** False: the client is slow, wait for `onDrain`. */
  write(bytes: Buffer): boolean;
  end(bytes?: Buffer): void;
  /** Cuts the connection. */
  destroy(): void;
}
