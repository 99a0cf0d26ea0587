/** The fields of a request's head. */
export class RequestHeaders {
  /** Names in lower case, and values, in turn, as they came. */
  readonly raw: readonly string[];

  constructor(raw: readonly string[]) {
    this.raw = raw;
  }

  /** How many times a field stands. `name` in lower case. */
  count(name: string): number {
    let count = 0;
    for (let i = 0; i < this.raw.length; i += 2) if (this.raw[i] === name) count += 1;
    return count;
  }

  /** The value of a field; of one that stands several times all of them, with commas (RFC 9110, section 5.3). `name` in lower case. */
  get(name: string): string | undefined {
    const { raw } = this;
    let value: string | undefined;
    for (let i = 0; i < raw.length; i += 2) {
      if (raw[i] === name) value = value === undefined ? raw[i + 1] : `${value}, ${raw[i + 1]}`;
    }
    return value;
  }
}
