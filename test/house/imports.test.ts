import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "..", "..");
const SRC = join(ROOT, "src");

/** What each room may import, besides itself. The replay provider is a peer of the program, not a part of it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  ports: ["core"],
  stores: ["core", "ports"],
  jobs: ["core", "ports"],
  providers: ["core", "ports"],
  prices: ["core", "ports"],
  telemetry: ["core", "ports"],
  webhooks: ["core", "ports"],
  config: ["core", "ports"],
  "replay-provider": ["core", "ports"],
  engine: ["core", "ports"],
  gateway: ["core", "ports", "engine"],
  library: ["core", "ports", "engine"],
  admin: ["core", "ports", "engine"],
  "compose.ts": [
    "core",
    "ports",
    "stores",
    "jobs",
    "providers",
    "prices",
    "telemetry",
    "webhooks",
    "config",
    "replay-provider",
    "engine",
    "gateway",
    "library",
    "admin",
  ],
  cli: ["core", "ports", "config", "prices", "telemetry", "replay-provider", "compose.ts"],
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;"']*?from\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)|(?:^|\n)import\s*["']([^"']+)["']/g;

function importsOf(file: string): string[] {
  return [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]);
}

const roomOf = (file: string) => file.split(sep)[0];

function violations(files: readonly string[], read: (file: string) => readonly string[]): string[] {
  return files.flatMap((file) => {
    const room = roomOf(file);
    const allowed = MAY_IMPORT[room];
    if (allowed === undefined) return [`${file}: no rule for the room ${room}`];
    return read(file).flatMap((specifier) => {
      if (!specifier.startsWith(".")) {
        return room === "core" ? [`${file}: core imports ${specifier}`] : [];
      }
      const target = roomOf(normalize(join(dirname(file), specifier)));
      return target === room || allowed.includes(target) ? [] : [`${file}: ${room} imports ${target}`];
    });
  });
}

test("imports point one way: core ← ports ← stores, providers ← engine ← gateway ← compose ← cli", () => {
  const files = globSync("**/*.ts", { cwd: SRC });
  assert.ok(files.length > 40);
  assert.deepEqual(
    violations(files, (file) => importsOf(join(SRC, file))),
    [],
  );
});

test("the import rule finds what it forbids", () => {
  const found = violations(
    ["core/limits/a.ts", "engine/b.ts", "gateway/c.ts", "cli/d.ts"],
    (file) =>
      ({
        "core/limits/a.ts": ["node:fs", "./x.ts", "../../ports/clock.ts"],
        "engine/b.ts": ["../stores/memory/x.ts"],
        "gateway/c.ts": ["../engine/b.ts", "undici"],
        "cli/d.ts": ["../gateway/c.ts"],
      })[file] ?? [],
  );
  assert.equal(found.length, 4);
});

test("files stay under 500 lines and out of drawers", () => {
  for (const file of globSync("src/**/*.ts", { cwd: ROOT })) {
    const lines = readFileSync(join(ROOT, file), "utf8").split("\n").length;
    assert.ok(lines <= 500, `${file} has ${lines} lines`);
    assert.doesNotMatch(file, /(^|\/)(utils?|helpers?|common|misc|types|interfaces|lib)(\.ts|\/)/);
  }
});
