import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined);

/**
 * Makes a folder, and those above it that are missing; one that is there is left as it is. Throws the system's error. Not `recursive: true`, which tries for ever
 * where a file system has no folders to make (`/proc`; seen with Node 24).
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
    return;
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") return;
    const parent = dirname(path);
    if (code !== "ENOENT" || parent === path) throw error;
    makeDirectory(parent);
  }
  mkdirSync(path);
}
