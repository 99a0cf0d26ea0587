import { crossCheck, warnings } from "./cross-checks.ts";
import { explainIssue } from "./explain-issue.ts";
import { type FileShape, fileSchema } from "./file-schema.ts";
import { asList, asMap, type Finding } from "./finding.ts";
import type { KeyPath } from "./problem.ts";

export interface Validation {
  /** Absent where there are errors. */
  readonly file: FileShape | undefined;
  readonly errors: readonly Finding[];
  readonly warnings: readonly Finding[];
}

const child = (value: unknown, part: string | number): unknown =>
  typeof part === "number" ? asList(value)[part] : asMap(value)[part];

const valueAt = (value: unknown, path: KeyPath): unknown => path.reduce(child, value);

/** Checks a configuration's shape and everything that takes more than its shape; finds all errors at once. */
export function validate(raw: unknown): Validation {
  const errors: Finding[] = [];
  const result = fileSchema.safeParse(raw);
  for (const issue of result.error?.issues ?? []) {
    errors.push(...explainIssue(issue, (path) => valueAt(raw, path) !== undefined));
  }
  crossCheck(asMap(raw), (finding) => errors.push(finding));
  const found: Finding[] = [];
  warnings(asMap(raw), (finding) => found.push(finding));
  return { file: errors.length === 0 ? result.data : undefined, errors, warnings: found };
}

/** The value with the one at `path` replaced, where there is one. */
export function withValueAt(value: unknown, path: KeyPath, replacement: unknown): unknown {
  if (path.length === 0) return replacement;
  const [part, ...rest] = path;
  const changed = withValueAt(child(value, part), rest, replacement);
  if (typeof part === "number") return asList(value).map((item, i) => (i === part ? changed : item));
  return { ...asMap(value), [part]: changed };
}
