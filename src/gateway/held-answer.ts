import type { RawHeaders } from "../ports/provider-format.ts";

/** Answers that are no streams come at once, when they are written; what is longer goes on as it comes. */
const HELD_BYTES_MAX = 262_144;
/** Some hosts send the head at once and blanks while they think, to keep the connection: their clients must see them. */
const HELD_MS_MAX = 1_000;

/** The beginning of an answer that waits for its end, because something in its head is known only then. Bounded in bytes and in time. */
export class HeldAnswer {
  readonly #status: number;
  readonly #head: RawHeaders;
  readonly #pieces: Buffer[] = [];
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;

  /** `onLate` is called where the end does not come in time. */
  constructor(status: number, head: RawHeaders, onLate: () => void) {
    this.#status = status;
    this.#head = head;
    this.#timer = setTimeout(onLate, HELD_MS_MAX);
  }

  /** False: that is more than may be held, and it is time to `take` it all. */
  keep(piece: Buffer): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return this.#bytes <= HELD_BYTES_MAX;
  }

  /** All of it, for the client; nothing is held any more. */
  take(): { readonly status: number; readonly head: RawHeaders; readonly pieces: readonly Buffer[] } {
    clearTimeout(this.#timer);
    return { status: this.#status, head: this.#head, pieces: this.#pieces };
  }
}
