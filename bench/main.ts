/**
 * Runs the benchmarks and prints their figures. A figure that misses its goal is reported, not punished: the exit code is 0 unless a benchmark cannot run.
 *
 *     npm run bench -- [NAME …] [--rounds N] [--seconds N] [--json FILE]
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import type { Benchmark, Figure } from "./benchmark.ts";
import { coldStart } from "./cold-start.ts";
import { decisions } from "./decisions.ts";
import { estimates } from "./estimates.ts";
import { holds } from "./holds.ts";
import { httpClient } from "./http-client.ts";
import { memory } from "./memory.ts";
import { proxy } from "./proxy.ts";
import { streams } from "./streams.ts";
import { othersShare } from "./support/others-load.ts";
import { json, table } from "./support/report.ts";
import { waitingRoom } from "./waiting-room.ts";

const BENCHMARKS: readonly Benchmark[] = [
  proxy,
  streams,
  httpClient,
  decisions,
  estimates,
  holds,
  memory,
  waitingRoom,
  coldStart,
];
/** The program has one, the load and the provider another. */
const CORES_MIN = 2;

const USAGE = `usage: npm run bench -- [NAME ...] [--rounds N] [--seconds N] [--json FILE]
names: ${BENCHMARKS.map(({ name }) => name).join(", ")}; all without a name`;

function exitWith(message: string, code: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}

function parseCommand() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: "string", default: "5" },
        seconds: { type: "string", default: "2" },
        json: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return exitWith(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, 2);
  }
}

function positive(name: string, text: string): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0
    ? value
    : exitWith(`--${name} must be a whole number above 0, not ${text}\n${USAGE}`, 2);
}

const progress = (message: string) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${message}`);
};

const { values, positionals } = parseCommand();
if (values.help) exitWith(USAGE, 0);
const unknown = positionals.filter((name) => !BENCHMARKS.some((one) => one.name === name));
if (unknown.length > 0) exitWith(`unknown: ${unknown.join(", ")}\n${USAGE}`, 2);
if (process.platform !== "linux" || availableParallelism() < CORES_MIN) {
  exitWith("The benchmarks pin programs to two cores and read /proc: they need Linux and two cores.", 1);
}
const rounds = positive("rounds", values.rounds);
const seconds = positive("seconds", values.seconds);
// Each started program adds a listener that ends it with this process, and there are more than ten.
process.setMaxListeners(0);

const chosen = BENCHMARKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
const results = new Map<string, readonly Figure[]>();
let hasFailed = false;
let others = 0;
for (const { name, run } of chosen) {
  others = Math.max(others, await othersShare());
  try {
    results.set(name, await run({ rounds, seconds, progress: (message) => progress(`${name}: ${message}`) }));
  } catch (error) {
    hasFailed = true;
    process.stderr.write(
      `\n${name} could not run: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
  }
}
progress("");
process.stdout.write(`${table(results, others)}\n`);
if (values.json !== undefined) writeFileSync(values.json, json(results, others));
process.exit(hasFailed ? 1 : 0);
