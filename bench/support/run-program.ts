import { fileURLToPath } from "node:url";
import { PROGRAM_CORE, startPinned } from "./pinned-process.ts";
import { NODE } from "./stream-load.ts";

/** Runs one of `programs/` on the program's core and resolves with the JSON that it prints last, on a line of its own behind `RESULT`. */
export async function runProgram(name: string, ...args: readonly string[]): Promise<unknown> {
  const file = fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url));
  const process = startPinned(PROGRAM_CORE, [...NODE, "--expose-gc", file, ...args]);
  const [, json] = await process.output(/RESULT (.*)\n/);
  await process.stop();
  return JSON.parse(json);
}
