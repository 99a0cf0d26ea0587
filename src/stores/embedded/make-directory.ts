import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined);

/**
 * Makes a folder, and those above it that are missing; one that is there is left as it is. Throws an error with a sentence where a file stands in its way, or the system's. Not `recursive: true`, which tries for ever
 * where a file system has no folders to make (`/proc`; seen with Node 24).
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
    return;
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST" && statSync(path).isDirectory()) return;
    if (code === "EEXIST" || code === "ENOTDIR")
      throw new Error("its place is taken by a file", { cause: error });
    const parent = dirname(path);
    if (code !== "ENOENT" || parent === path) throw error;
    makeDirectory(parent);
  }
  mkdirSync(path);
}
