import { readFileSync } from "node:fs";
import { limitsOfJson } from "./control.ts";
import type { EnforcedLimit } from "./enforced-limits.ts";
import { parseRecordings, type Recording } from "./recording.ts";
import { type ReplayProvider, startReplayProvider } from "./replay-provider.ts";
import { type Switches, switchesOfJson } from "./switches.ts";

/** What a command line gives: everything is optional. */
export interface RunReplayProviderOptions {
  readonly host?: string;
  readonly port?: number;
  /** Recordings, one JSON object a line. Default: the bundled ones. */
  readonly dataFile?: string;
  readonly switches?: Switches;
  /** As `readLimits` gives them. */
  readonly limits?: readonly EnforcedLimit[];
}

/** The selection that is part of the package. */
export function bundledRecordings(): readonly Recording[] {
  return parseRecordings(readFileSync(new URL("./recordings.jsonl", import.meta.url), "utf8"));
}

/**
 * Starts a replay provider for people: with the bundled recordings, and without keeping requests, so that it can run for weeks. The caller
 * closes it. Rejects with one sentence when the data cannot be read, or with the system's error when the port is taken.
 */
export async function runReplayProvider(options: RunReplayProviderOptions = {}): Promise<ReplayProvider> {
  const { host, port, dataFile, switches, limits } = options;
  return await startReplayProvider({
    recordings: dataFile === undefined ? bundledRecordings() : readDataFile(dataFile),
    requestsKeptMax: 0,
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(switches === undefined ? {} : { switches }),
    ...(limits === undefined ? {} : { limits }),
  });
}

function readDataFile(path: string): readonly Recording[] {
  try {
    return parseRecordings(readFileSync(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : "unknown";
    throw new Error(`${path} cannot be used as recordings: ${reason}`, { cause });
  }
}

/** Reads switches as command-line text, by their names in JSON: `{ latency_ms: "50" }`. Throws an `Error` that names the switch and what it may be. */
export function readSwitches(texts: Readonly<Record<string, string | undefined>>): Switches {
  const given = Object.entries(texts).filter(([, text]) => text !== undefined);
  return switchesOfJson(Object.fromEntries(given));
}

const WINDOW_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads limits as command-line text: `requests=60/1m,tokens=90000/1m`, or a JSON array. Throws an `Error` that says what is wrong. */
export function readLimits(text: string): readonly EnforcedLimit[] {
  if (text.trimStart().startsWith("[")) return limitsOfJson(JSON.parse(text));
  return limitsOfJson(text.split(",").map(readLimit));
}

function readLimit(text: string): unknown {
  const match = /^\s*([a-z_]+)=(\d+)\/(\d*)(ms|s|m|h|d)\s*$/.exec(text);
  if (match === null)
    throw new Error(`"${text}" is no limit; write METER=AMOUNT/WINDOW, for example requests=60/1m`);
  const [, meter, limit, count, unit] = match;
  return { meter, limit: Number(limit), window_ms: Number(count || "1") * WINDOW_MS[unit!]! };
}
