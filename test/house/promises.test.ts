import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "..", "..");

/** `- **L1 all or nothing.** …` under a heading that says that it is built. */
const PROMISE = /^- \*\*([A-Z]\d+)\b/gm;
/** The title of a test that names promises: `test("… (L1, L6)"`. */
const TITLE = /\b(?:test|it|describe)\(\s*(["'`])([\s\S]*?)\1/g;

function builtPromises(): string[] {
  const text = readFileSync(join(ROOT, "docs", "promises.md"), "utf8");
  const built = text.split(/^## Not built yet/m)[0];
  return [...built.matchAll(PROMISE)].map(([, id]) => id);
}

test("every promise that is built is named in the title of a test", () => {
  const named = new Set<string>();
  for (const file of globSync("test/**/*.ts", { cwd: ROOT })) {
    for (const [, , title] of readFileSync(join(ROOT, file), "utf8").matchAll(TITLE)) {
      for (const [id] of title.matchAll(/\b[LEQJSPX]\d+\b/g)) named.add(id);
    }
  }
  const promises = builtPromises();
  assert.ok(promises.length >= 20, `only ${promises.length} promises found`);
  assert.deepEqual(
    promises.filter((id) => !named.has(id)),
    [],
  );
});
