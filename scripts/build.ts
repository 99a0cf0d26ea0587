// Builds dist for publishing: compiles src, and copies what the compiler leaves behind.
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, globSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { execPath, exit } from "node:process";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SRC = join(ROOT, "src");
const DIST = join(ROOT, "dist");
/** Scripts for Redis, recordings, schemas and catalogues: read at run time, beside the module that reads them. */
const COPIED = "**/*.{lua,jsonl,json}";

rmSync(DIST, { recursive: true, force: true });
const compiler = join(
  dirname(createRequire(import.meta.url).resolve("typescript/package.json")),
  "bin",
  "tsc",
);
const { status } = spawnSync(execPath, [compiler, "-p", join(ROOT, "tsconfig.build.json")], {
  stdio: "inherit",
});
if (status !== 0) exit(status ?? 1);
for (const file of globSync(COPIED, { cwd: SRC })) cpSync(join(SRC, file), join(DIST, file));
const cli = join(DIST, "cli", "main.js");
if (existsSync(cli)) chmodSync(cli, 0o755);
