import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { env, getuid } from "node:process";

/** A slow mirror may take a minute for each of the two steps; a test run must not hang on one for longer. */
const INSTALL_STEP_MS_MAX = 150_000;
const NAMES = ["redis-server", "valkey-server"];

const HOW_TO_INSTALL =
  "These tests need a real Redis: install the package `redis-server` (Debian, Ubuntu), `redis` (others) or `valkey`, or name the binary in SLUICE_REDIS_SERVER.";

/** Path of a `redis-server` (or Valkey's), installing Debian's package where there is none and we may. Throws one sentence that says what to do. */
export function redisBinary(): string {
  const found = findBinary();
  if (found !== undefined) return found;
  installDebianPackage();
  const installed = findBinary();
  if (installed === undefined) throw new Error(HOW_TO_INSTALL);
  return installed;
}

function findBinary(): string | undefined {
  const named = env.SLUICE_REDIS_SERVER;
  if (named !== undefined && named !== "") return named;
  const folders = [...(env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"];
  return folders
    .filter((folder) => folder !== "")
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function installDebianPackage(): void {
  if (getuid?.() !== 0 || !isExecutable("/usr/bin/apt-get")) throw new Error(HOW_TO_INSTALL);
  // At another run level the package would start a server of its own on 6379.
  const script = [
    "apt-get update -q",
    "DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends redis-server",
  ];
  for (const command of script) {
    // Another test file may be installing at this moment: apt waits for its lock.
    const withLock = command.replaceAll("apt-get ", "apt-get -o DPkg::Lock::Timeout=120 ");
    const result = spawnSync("sh", ["-c", withLock], { timeout: INSTALL_STEP_MS_MAX, encoding: "utf8" });
    if (result.status === 0) continue;
    throw new Error(
      `${HOW_TO_INSTALL} (\`${command}\` failed: ${(result.stderr ?? "").trim().split("\n").at(-1) ?? result.signal})`,
    );
  }
}
