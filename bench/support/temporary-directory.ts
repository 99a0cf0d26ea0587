import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new directory that is gone when this process has ended, also by an error. */
export function temporaryDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `sluice-bench-${name}-`));
  process.once("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}
