import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { makeDirectory } from "../../src/stores/embedded/make-directory.ts";

test("makeDirectory makes what is missing, and leaves what is there", (t) => {
  const root = mkdtempSync(join(tmpdir(), "sluice-made-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const path = join(root, "a", "b", "c");
  makeDirectory(path);
  makeDirectory(path);
  assert.ok(statSync(path).isDirectory());
});

test("EmbeddedLimitStore says at once where a folder cannot be made (X3)", () => {
  for (const directory of ["/proc/sluice", "/proc/a/b/c"]) {
    assert.throws(
      () => new EmbeddedLimitStore({ directory }),
      (error: Error) => error.message.startsWith(`the store in ${directory} cannot be opened`),
    );
  }
});

test("EmbeddedLimitStore says that a file stands where its folder should", (t) => {
  const root = mkdtempSync(join(tmpdir(), "sluice-made-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  writeFileSync(join(root, "file"), "");
  for (const directory of [join(root, "file"), join(root, "file", "below"), join(root, "file", "a", "b")]) {
    assert.throws(() => new EmbeddedLimitStore({ directory }), {
      message: `the store in ${directory} cannot be opened: its place is taken by a file`,
    });
  }
});
