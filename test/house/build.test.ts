import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..", "..");
const run = promisify(execFile);

type Target = string | { readonly [condition: string]: Target };
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports?: Readonly<Record<string, Target>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

/** Every file that an export may resolve to. */
const filesOf = (target: Target): readonly string[] =>
  typeof target === "string" ? [target] : Object.values(target).flatMap(filesOf);

describe("the package as it is published", () => {
  /** The sources, built where nobody else builds, with this project's modules beside them. */
  let folder: string;
  let manifest: Manifest;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "sluice-build-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    for (const name of ["src", "scripts", "package.json", "tsconfig.json", "tsconfig.build.json"]) {
      cpSync(join(ROOT, name), join(folder, name), { recursive: true });
    }
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
    await run(process.execPath, [join(folder, "scripts", "build.ts")], { cwd: folder });
    // What is published has no sources to fall back on.
    rmSync(join(folder, "src"), { recursive: true });
  });

  test("each export of package.json has its files, and can be imported by its name", async () => {
    const specifiers: string[] = [];
    for (const [path, target] of Object.entries(manifest.exports ?? {})) {
      for (const file of filesOf(target)) assert.ok(readFileSync(join(folder, file)).length > 0, file);
      specifiers.push(`${manifest.name}${path.slice(1)}`);
    }
    const script = specifiers.map((name) =>
      name.endsWith(".json")
        ? `JSON.stringify((await import("${name}", { with: { type: "json" } })).default)`
        : `Object.keys(await import("${name}")).join()`,
    );
    const { stdout } = await run(
      process.execPath,
      ["--input-type=module", "-e", `console.log(JSON.stringify([${script.join(", ")}]))`],
      { cwd: folder, maxBuffer: 1 << 26 },
    );
    const found = JSON.parse(stdout) as readonly string[];
    for (const [i, exported] of found.entries()) assert.ok(exported.length > 0, `${specifiers[i]} is empty`);
  });

  test("each command of package.json runs, and says its version", async () => {
    for (const file of Object.values(manifest.bin)) {
      const { stdout } = await run(process.execPath, [join(folder, file), "--version"], { cwd: folder });
      assert.equal(stdout.trim(), manifest.version);
    }
  });
});
