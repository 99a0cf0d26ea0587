import type { IncomingHttpHeaders } from "node:http";
import { isObject } from "./recording.ts";

/** What can go wrong, or slowly, on purpose. Absent means: off. */
export interface Switches {
  /** Wait before the answer begins. */
  readonly latencyMs?: number | undefined;
  /** Answer with this error; every call, or as many as `failRate` or `failNext` say. Where only those are given: 500. */
  readonly failStatus?: number | undefined;
  /** The share of calls that fail, 0 … 1. */
  readonly failRate?: number | undefined;
  /** So many calls fail from now on; counted down. */
  readonly failNext?: number | undefined;
  /** The `code` of such an error, e.g. `insufficient_quota`. */
  readonly failCode?: string | undefined;
  /** For `retry-after` on such an error. Default: 1000 on 429, none otherwise. */
  readonly retryAfterMs?: number | undefined;
  /** Break the connection after so many bytes of the body; 0: after the head. */
  readonly cutAfterBytes?: number | undefined;
  readonly cutAfterChunks?: number | undefined;
  /** Say nothing more after so many chunks, and keep the connection open. */
  readonly stallAfterChunks?: number | undefined;
  /** Answer bytes that are not HTTP. */
  readonly garbage?: boolean | undefined;
  /** Reset the connection: when it is made, or as a header when the request has been read. */
  readonly resetOnConnect?: boolean | undefined;
  /** Never answer. */
  readonly hang?: boolean | undefined;
  /** Cut the body into chunks of so many bytes, of one server-sent event each, or of random sizes (1 to 200 bytes, by `seed`). */
  readonly chunkBytes?: number | "event" | "random" | undefined;
  /** Between two chunks. For a stream it implies `chunkBytes: "event"`. */
  readonly chunkIntervalMs?: number | undefined;
  /** After so many events of a stream, the provider's own error event, and the end. */
  readonly midStreamError?: number | undefined;
  /** For `failRate` and random chunks. */
  readonly seed?: number | undefined;
  /** Length of synthesised answers; the call's own maximum still holds. */
  readonly outputTokens?: number | undefined;
}

type Reader = (value: unknown) => unknown;

/** Longest wait that a switch may ask for: what Node's timers can do. */
const WAIT_MS_MAX = 2 ** 31 - 1;

const integer =
  (min: number, max: number): Reader =>
  (value) => {
    const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (Number.isInteger(number) && (number as number) >= min && (number as number) <= max) return number;
    throw new Error(`a whole number from ${min} to ${max}`);
  };

const share: Reader = (value) => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && number >= 0 && number <= 1) return number;
  throw new Error("a number from 0 to 1");
};

const flag: Reader = (value) => {
  if (value === true || value === "true" || value === "1") return true;
  if (value === false || value === "false" || value === "0") return false;
  throw new Error("true or false");
};

const text: Reader = (value) => {
  if (typeof value === "string") return value;
  throw new Error("text");
};

const COUNT_MAX = Number.MAX_SAFE_INTEGER;

const readChunkSize = integer(1, COUNT_MAX);

const chunkSize: Reader = (value) => {
  if (value === "event" || value === "random") return value;
  try {
    return readChunkSize(value);
  } catch {
    throw new Error('"event", "random" or a whole number from 1');
  }
};

/** A synthesised answer is made in memory. */
const OUTPUT_TOKENS_MAX = 100_000;

const READERS: Readonly<Record<keyof Switches, Reader>> = {
  latencyMs: integer(0, WAIT_MS_MAX),
  failStatus: integer(400, 599),
  failRate: share,
  failNext: integer(0, COUNT_MAX),
  failCode: text,
  retryAfterMs: integer(0, WAIT_MS_MAX),
  cutAfterBytes: integer(0, COUNT_MAX),
  cutAfterChunks: integer(0, COUNT_MAX),
  stallAfterChunks: integer(0, COUNT_MAX),
  garbage: flag,
  resetOnConnect: flag,
  hang: flag,
  chunkBytes: chunkSize,
  chunkIntervalMs: integer(0, WAIT_MS_MAX),
  midStreamError: integer(0, COUNT_MAX),
  seed: integer(0, COUNT_MAX),
  outputTokens: integer(1, OUTPUT_TOKENS_MAX),
};

const NAMES = Object.keys(READERS) as (keyof Switches)[];

const delimited = (name: string, delimiter: string) =>
  name.replace(/[A-Z]/g, (capital) => `${delimiter}${capital.toLowerCase()}`);

const HEADER_NAMES = NAMES.map((name) => [name, `x-replay-${delimited(name, "-")}`] as const);
const JSON_NAMES = new Map(NAMES.map((name) => [delimited(name, "_"), name]));

/** Reads the `x-replay-…` headers of one request. Throws an `Error` that names the header and what it may be. */
export function switchesOfHeaders(headers: IncomingHttpHeaders): Switches {
  const given: Partial<Record<keyof Switches, unknown>> = {};
  for (const [name, header] of HEADER_NAMES) {
    const value = headers[header];
    if (value !== undefined) given[name] = read(name, header, value);
  }
  return given as Switches;
}

/** Reads `{"latency_ms": 50, …}`; null turns a switch off. Throws an `Error` that names the member and what it may be. */
export function switchesOfJson(value: unknown): Switches {
  if (!isObject(value)) throw new Error("switches must be a JSON object");
  const given: Partial<Record<keyof Switches, unknown>> = {};
  for (const [member, setting] of Object.entries(value)) {
    const name = JSON_NAMES.get(member);
    if (name === undefined)
      throw new Error(`there is no switch "${member}"; there are: ${[...JSON_NAMES.keys()].join(", ")}`);
    given[name] = setting === null ? undefined : read(name, member, setting);
  }
  return given as Switches;
}

/** As `switchesOfJson` takes them. */
export function switchesToJson(switches: Switches): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    [...JSON_NAMES]
      .map(([member, name]) => [member, switches[name]] as const)
      .filter(([, value]) => value !== undefined),
  );
}

function read(name: keyof Switches, shown: string, value: unknown): unknown {
  try {
    return READERS[name](value);
  } catch (error) {
    const expected = error instanceof Error ? error.message : "";
    throw new Error(`${shown} must be ${expected}, not ${JSON.stringify(value)}`);
  }
}

/** The switches of a running provider. */
export class SwitchBoard {
  #current: Switches;

  constructor(initial: Switches = {}) {
    this.#current = initial;
  }

  get current(): Switches {
    return this.#current;
  }

  /** Changes the switches that are given; undefined turns one off. */
  set(changes: Switches): void {
    this.#current = { ...this.#current, ...changes };
  }

  /** Turns all off. */
  reset(): void {
    this.#current = {};
  }

  /** Counts one call down from `failNext`. Returns whether it is one of them. */
  takeFailNext(): boolean {
    const { failNext = 0 } = this.#current;
    if (failNext > 0) this.set({ failNext: failNext - 1 });
    return failNext > 0;
  }
}
