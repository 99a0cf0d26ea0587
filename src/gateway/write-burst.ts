import type { Socket } from "node:net";

/** Who has bytes for a socket that wait for the end of the turn. */
export interface BurstMember {
  flush(): void;
}

/**
 * So many sockets wait for each other at most: enough that waking the other ends costs little, and few enough that the first of them waits for a few
 * milliseconds when a turn of the event loop is full of calls.
 */
const MEMBERS_MAX = 32;

/**
 * Writes of one turn of the event loop go out one behind the other at its end, instead of each between the work of two calls. A write to a peer that sleeps costs five
 * times one to a peer that is awake (a wake-up across processors): at the end of the turn only the first one pays for that. With nothing else to do in a turn, nothing
 * waits. Measured in docs/decisions/0015.
 */
export class WriteBurst {
  #members: BurstMember[] = [];
  #isScheduled = false;

  add(member: BurstMember): void {
    this.#members.push(member);
    if (this.#members.length >= MEMBERS_MAX) {
      this.#flush();
    } else if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(this.#onTurnEnd);
    }
  }

  readonly #onTurnEnd = (): void => {
    this.#isScheduled = false;
    this.#flush();
  };

  #flush(): void {
    const members = this.#members;
    this.#members = [];
    for (const member of members) member.flush();
  }
}

/** Wants to know when what was written has left this process, or never will. */
export interface OutListener {
  onOut(): void;
}

/** Up to here, text is kept for the end of the turn; what is longer is worth a system call of its own. */
export const BURST_CHARS_MAX = 16_384;

/** The small writes of one socket, as members of a burst. Whoever writes to the socket itself, ends it or hands it over calls `flush` before. */
export class BurstWriter implements BurstMember {
  readonly #socket: Socket;
  readonly #burst: WriteBurst;
  /** Latin1: one character a byte. */
  #text = "";
  #isMember = false;
  readonly #listeners: OutListener[] = [];

  constructor(socket: Socket, burst: WriteBurst) {
    this.#socket = socket;
    this.#burst = burst;
  }

  /** `text` is latin1. False, as from `Socket.write`: the other end is slow, wait for `drain`. */
  write(text: string): boolean {
    if (this.#socket.writableNeedDrain || this.#text.length + text.length > BURST_CHARS_MAX) {
      this.flush();
      return this.#socket.write(text, "latin1");
    }
    this.#text += text;
    if (!this.#isMember) {
      this.#isMember = true;
      this.#burst.add(this);
    }
    return true;
  }

  /** Hands what is kept to the socket. */
  flush(): void {
    this.#isMember = false;
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    this.#socket.write(text, "latin1");
    for (const listener of this.#listeners.splice(0)) this.tellOut(listener);
  }

  /** The other end is gone: nobody will read what is kept. */
  drop(): void {
    this.#text = "";
    for (const listener of this.#listeners.splice(0)) listener.onOut();
  }

  /** Tells `listener` when all that was written so far has left this process. */
  tellOut(listener: OutListener): void {
    if (this.#text !== "") this.#listeners.push(listener);
    // An empty write is called back when what was written before it is out.
    else if (this.#socket.writableLength > 0) this.#socket.write("", () => listener.onOut());
    else listener.onOut();
  }
}
