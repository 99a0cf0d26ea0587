import { spawnSync } from "node:child_process";

/** Programs that the benchmarks need, with the Debian package each comes from. */
const PACKAGES = {
  nginx: "nginx-light",
  wrk: "wrk",
  "redis-server": "redis-server",
  taskset: "util-linux",
} as const;

export type DebianTool = keyof typeof PACKAGES;

const isThere = (tool: DebianTool) => spawnSync("which", [tool]).status === 0;

function apt(...args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  return spawnSync("apt-get", args, { env }).status === 0;
}

/** Makes sure of the tools: installs Debian's package where one is missing and this is root, otherwise throws an error that says what to install. */
export function requireTools(...tools: readonly DebianTool[]): void {
  const missing = tools.filter((tool) => !isThere(tool)).map((tool) => PACKAGES[tool]);
  if (missing.length === 0) return;
  const isRoot = process.getuid?.() === 0;
  const installed = isRoot && apt("update") && apt("install", "-y", "--no-install-recommends", ...missing);
  if (!installed)
    throw new Error(`these benchmarks need the Debian packages ${missing.join(", ")}; please install them`);
}
