import { inspect } from "node:util";

const SHOWN = "[secret]";

/** A text that no log, error, template or JSON shows by accident (X1). */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself: for the header or the connection that needs it, and nothing else. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}
