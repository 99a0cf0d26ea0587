const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** As UTF-8, one character a byte: may stand before a stream (HTML, server-sent events). */
const BYTE_ORDER_MARK = "\xef\xbb\xbf";

/**
 * Finds where the events of a server-sent stream end, in pieces cut at any byte: after a blank line, with line ends LF or CRLF, mixed as
 * they come. Lone CR as a line end, which the specification allows and no provider sends, is not seen.
 */
export class SseFraming {
  #lineBytes = 0;
  #lastIsReturn = false;

  /** Whether the next byte begins a line. */
  get atLineStart(): boolean {
    return this.#lineBytes === 0;
  }

  /** Offset behind the event that ends first at or after `from`; −1 when none does in this piece. Each byte may be passed once only. */
  nextEnd(piece: Buffer, from: number): number {
    let at = from;
    while (at < piece.length) {
      const feed = piece.indexOf(LINE_FEED, at);
      const end = feed === -1 ? piece.length : feed;
      if (end > at) {
        this.#lineBytes += end - at;
        this.#lastIsReturn = piece[end - 1] === CARRIAGE_RETURN;
      }
      if (feed === -1) return -1;
      const isBlank = this.#lineBytes === 0 || (this.#lineBytes === 1 && this.#lastIsReturn);
      this.#lineBytes = 0;
      at = feed + 1;
      if (isBlank) return at;
    }
    return -1;
  }
}

/**
 * The data of one event, given as text (one character a byte): its `data:` lines without their prefix, joined. `undefined` for a
 * comment, a blank, an event without data.
 */
export function eventData(event: string): string | undefined {
  let data: string | undefined;
  let from = event.startsWith(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0;
  while (from < event.length) {
    const feed = event.indexOf("\n", from);
    const end = feed === -1 ? event.length : feed;
    if (event.startsWith("data:", from)) {
      const start = event[from + 5] === " " ? from + 6 : from + 5;
      const line = event.slice(start, event[end - 1] === "\r" ? end - 1 : end);
      data = data === undefined ? line : `${data}\n${line}`;
    }
    from = end + 1;
  }
  return data;
}
