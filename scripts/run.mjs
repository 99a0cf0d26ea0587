// Runs one of the project's few commands on a Node that is new enough, installing what is missing first.
// Plain JavaScript without dependencies: it is what runs on the machine's own Node (20 or later) before anything is installed.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** The first release with type stripping, `node:sqlite` and undici 8 on without flags. */
const NODE_MIN = [22, 19];
const INSTALLED_MARK = join(ROOT, "node_modules", ".sluice-installed");

function isNewEnough(version) {
  const [major, minor] = version.split(".").map(Number);
  return major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** npm's own output is only of interest when it failed. */
function npm(args) {
  const result = spawnSync("npm", args, { cwd: ROOT, encoding: "utf8", maxBuffer: 64 << 20 });
  if (result.error) fail(`npm could not be started: ${result.error.message}`);
  return { ok: result.status === 0, output: `${result.stdout}${result.stderr}` };
}

/** Installed means: after the lock file last changed. */
function isInstalled() {
  if (!existsSync(INSTALLED_MARK)) return false;
  return statSync(INSTALLED_MARK).mtimeMs >= statSync(join(ROOT, "package-lock.json")).mtimeMs;
}

function install() {
  process.stderr.write("sluice: installing dependencies (once, about a minute) …\n");
  // Not `npm ci`: it refuses a lock file that names no registry, as ours does so that it serves behind any mirror. The lock file is
  // obeyed and left as it is all the same.
  const { ok, output } = npm(["install", "--no-save", "--no-audit", "--no-fund", "--include=dev"]);
  if (!ok) fail(`npm install failed:\n${output}`);
  writeFileSync(INSTALLED_MARK, "");
}

const bundledNode = () =>
  join(ROOT, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node");

/** This process's Node where it is new enough, else the `node` development dependency's. */
function runtime() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  if (existsSync(bundledNode())) return bundledNode();
  // Where install scripts are off, the `node` package is there without its binary: fetch the platform's own package.
  const require = createRequire(import.meta.url);
  const version = require(join(ROOT, "node_modules", "node", "package.json")).version;
  const platform = process.platform === "win32" ? "win" : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const binary = join(ROOT, "node_modules", name, "bin", process.platform === "win32" ? "node.exe" : "node");
  if (!existsSync(binary)) {
    const { ok, output } = npm(["install", "--no-save", "--no-audit", "--no-fund", `${name}@${version}`]);
    if (!ok)
      fail(
        `Sluice needs Node >= ${NODE_MIN.join(".")}; this is ${process.version}, and installing ${name}@${version} failed:\n${output}`,
      );
  }
  return binary;
}

const bin = (name) => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8"));
  const entry = typeof manifest.bin === "string" ? manifest.bin : Object.values(manifest.bin)[0];
  return join(ROOT, "node_modules", name, entry);
};

/** What Node compiles is kept for the next start, where a file has not changed since. The same place as in src/cli/compile-cache.ts. */
const COMPILED = join(ROOT, "node_modules", ".cache", "sluice-compiled");
const NODE_FLAGS = ["--disable-warning=ExperimentalWarning"];

/** Each command is a list of steps; a step is the argument list of one run of Node. */
const COMMANDS = {
  start: (args) => [["src/cli/main.ts", "start", ...args]],
  sluice: (args) => [[join(ROOT, "src", "cli", "main.ts"), ...args]],
  test: (args) => [["scripts/test.ts", ...args]],
  check: () => [
    [bin("@biomejs/biome"), "check", "--error-on-warnings", "."],
    [bin("typescript"), "--noEmit"],
    [bin("knip"), "--no-progress"],
  ],
  schema: () => [["scripts/write-schema.ts"]],
  fairness: () => [["bench/write-fairness.ts"]],
  build: () => [["scripts/build.ts"]],
  bench: (args) => [["bench/main.ts", ...args]],
};

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"];

async function run(node, args, cwd) {
  const child = spawn(node, [...NODE_FLAGS, ...args], {
    cwd,
    stdio: "inherit",
    env: {
      NODE_COMPILE_CACHE: COMPILED,
      ...process.env,
      PATH: `${dirname(node)}:${process.env.PATH}`,
    },
  });
  // A supervisor may signal this process only, which hands it on; a terminal signals the whole group, so that the child hears of it twice.
  const handOn = (signal) => child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, handOn);
  const { code, signal } = await new Promise((resolve) =>
    child.on("exit", (code, signal) => resolve({ code, signal })),
  );
  for (const signal of SIGNALS) process.off(signal, handOn);
  return signal ? 128 + 15 : code;
}

const [command, ...args] = process.argv.slice(2);
if (!Object.hasOwn(COMMANDS, command)) fail(`usage: node scripts/run.mjs ${Object.keys(COMMANDS).join("|")}`);
if (!isInstalled()) install();
const node = runtime();
// The files that `sluice` is given are named from where it is called; everything else is about this folder.
const cwd = command === "sluice" ? process.cwd() : ROOT;
for (const step of COMMANDS[command](args)) {
  const code = await run(node, step, cwd);
  if (code !== 0) process.exit(code);
}
