import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** One call of a recorded trace. */
export interface TraceCall {
  /** Since the trace began. */
  readonly atSeconds: number;
  readonly model: string;
  readonly client: string | undefined;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export type Traces = ReadonlyMap<string, readonly TraceCall[]>;

const ROOT = join(import.meta.dirname, "..", "..");
const DATA = join(ROOT, "..", "shared", "data", "traces");
/** Travels with the project; says where its rows are from. */
const FIXTURE = join(ROOT, "test", "fixtures", "output-lengths.csv");

/** More rows of the largest traces say nothing new, and take long. */
const ROWS_MAX = 40_000;

const rowsOf = (path: string) =>
  readFileSync(path, "utf8")
    .split(/\r?\n/)
    .filter((line) => line !== "" && !line.startsWith("#"))
    .slice(1, ROWS_MAX + 1)
    .map((line) => line.split(","));

function clientTrace(name: string, file: string): readonly TraceCall[] {
  return rowsOf(join(DATA, file)).map(([at, client, input, output]) => ({
    atSeconds: Number(at),
    model: name,
    client,
    inputTokens: Number(input),
    outputTokens: Number(output),
  }));
}

function azureTrace(name: string, file: string): readonly TraceCall[] {
  const rows = rowsOf(join(DATA, file)).map(([at, input, output]) => ({
    // Seven digits of a second: Date reads three.
    atSeconds: Date.parse(`${at.slice(0, 23).replace(" ", "T")}Z`) / 1_000,
    model: name,
    client: undefined,
    inputTokens: Number(input),
    outputTokens: Number(output),
  }));
  const start = rows[0].atSeconds;
  return rows.map((row) => ({ ...row, atSeconds: row.atSeconds - start }));
}

/** The rows that are part of the project. */
export function fixtureTraces(): Traces {
  const traces = new Map<string, TraceCall[]>();
  for (const [model, at, client, input, output] of rowsOf(FIXTURE)) {
    const calls = traces.get(model) ?? [];
    traces.set(model, calls);
    calls.push({
      atSeconds: Number(at),
      model,
      client,
      inputTokens: Number(input),
      outputTokens: Number(output),
    });
  }
  return traces;
}

/** The whole traces beside the project; none where they are not there. */
export function fullTraces(): Traces {
  if (!existsSync(DATA)) return new Map();
  return new Map([
    ["azure-conv", azureTrace("azure-conv", "azure2023_conv.csv")],
    ["azure-code", azureTrace("azure-code", "azure2023_code.csv")],
    ["servegen-m-large", clientTrace("servegen-m-large", "servegen_m-large_sampled.csv")],
    ["servegen-r1", clientTrace("servegen-r1", "servegen_deepseek-r1_sampled.csv")],
    ["vtc-arena", clientTrace("vtc-arena", "vtc_arena_27clients.csv")],
  ]);
}

/** The same shuffle for the same seed. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const result = [...items];
  let state = seed;
  for (let i = result.length - 1; i > 0; i--) {
    // A linear congruential generator (Numerical Recipes): any fixed order without a pattern will do.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}
