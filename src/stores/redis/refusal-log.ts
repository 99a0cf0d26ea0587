import type { Telemetry } from "../../ports/telemetry.ts";

/** The same kind of refusal is said again after this. */
const AGAIN_MS = 60_000;
/** Kinds are Redis's words, of which there are some dozens; what is beyond is a bug, and said as one of them. */
const KINDS_MAX = 32;
const MESSAGE_LENGTH_MAX = 500;
/** Redis's own words for what an operator can change; everything else is an error of a script. */
const OPERATORS: ReadonlySet<string> = new Set([
  "OOM",
  "NOPERM",
  "NOAUTH",
  "WRONGPASS",
  "READONLY",
  "MISCONF",
  "BUSY",
  "LOADING",
  "MASTERDOWN",
  "CLUSTERDOWN",
  "NOREPLICAS",
  "TRYAGAIN",
]);

/** The word with which Redis begins an error. */
const kindOf = ({ message }: Error): string => /^-?([A-Z]+)\b/.exec(message)?.[1] ?? "ERR";

/** Says why Redis refuses to run scripts: each kind of error once a minute, as every call may meet it. */
export class RefusalLog {
  readonly #telemetry: Telemetry;
  readonly #saidMs = new Map<string, number>();

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  /** `nowMs` is on any clock that goes on. */
  refused(error: Error, nowMs: number): void {
    const kind = kindOf(error);
    const name = this.#saidMs.has(kind) || this.#saidMs.size < KINDS_MAX ? kind : "ERR";
    if (nowMs < (this.#saidMs.get(name) ?? Number.NEGATIVE_INFINITY) + AGAIN_MS) return;
    this.#saidMs.set(name, nowMs);
    const level = OPERATORS.has(kind) ? "warn" : "error";
    this.#telemetry.log(level, "Redis refuses to run scripts", {
      error: error.message.slice(0, MESSAGE_LENGTH_MAX),
    });
  }
}
