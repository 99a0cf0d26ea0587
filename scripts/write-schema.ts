// Writes the JSON Schema of sluice.yaml, which is published with the package, from the schema that checks it.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { publishedSchema } from "../src/config/published-schema.ts";

writeFileSync(join(import.meta.dirname, "..", "src", "config", "sluice.schema.json"), publishedSchema());
