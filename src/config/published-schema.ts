import { fileJsonSchema } from "./explain-issue.ts";

/** The text of `sluice.schema.json`; `node scripts/run.mjs schema` writes it. */
export const publishedSchema = (): string => `${JSON.stringify(fileJsonSchema(), null, 2)}\n`;
