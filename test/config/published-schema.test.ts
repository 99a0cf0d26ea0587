import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { publishedSchema } from "../../src/config/published-schema.ts";

test("sluice.schema.json is in step with the schema: `node scripts/run.mjs schema` writes it", () => {
  const file = join(import.meta.dirname, "..", "..", "src", "config", "sluice.schema.json");
  assert.equal(readFileSync(file, "utf8"), publishedSchema());
});
