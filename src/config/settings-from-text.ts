import { compileSettings, type Origin } from "./compile-settings.ts";
import { type FileShape, fileSchema } from "./file-schema.ts";
import { type Finding, shownPath } from "./finding.ts";
import { ConfigurationError, formatPath, type KeyPath, type Problem } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { validate, withValueAt } from "./validate.ts";
import { type Environment, YamlSource } from "./yaml-source.ts";

/** Keys whose values are never shown, not even as written: they are keys, or may hold passwords. */
const HIDDEN_KEYS = new Set(["key", "key_sha256", "store", "jobs", "base_url", "url", "secret"]);
/** In an account or a client's key also these: a slip of the finger or two (`name: main key sk-…`) and they hold what stands beside them. */
const HIDDEN_BESIDE_KEYS = new Set(["name", "user", "team", "feature"]);
/** A value is only quoted in an error up to here. */
const SHOWN_LENGTH_MAX = 80;

function isHidden(path: KeyPath): boolean {
  const last = path.findLast((part) => typeof part === "string");
  if (last === undefined || path.includes("match")) return false;
  const isBesideKey = (path[0] === "providers" || path[0] === "identity") && !path.includes("limits");
  return HIDDEN_KEYS.has(last) || (isBesideKey && HIDDEN_BESIDE_KEYS.has(last));
}

/** `found "x"; ` as written in the file, for a message. */
function foundIn(source: YamlSource, finding: Finding): string {
  if (finding.shows === undefined) return "";
  if (isHidden(finding.path)) return "found a value that is not shown here; ";
  const written = source.written(finding.path);
  if (written === undefined) return "found a mapping, a list or a text over several lines; ";
  if (finding.shows === "kind") return `found ${written.startsWith('"') ? "a text" : written}; `;
  return `found ${written.length > SHOWN_LENGTH_MAX ? `${written.slice(0, SHOWN_LENGTH_MAX)}…` : written}; `;
}

function problemOf(source: YamlSource, fileName: string, finding: Finding): Problem {
  const { line, column } = source.position(finding.path, finding.atKey === true);
  const message = `${foundIn(source, finding)}${finding.message}`;
  return { file: fileName, line, column, key: formatPath(shownPath(finding)), message };
}

const byPlace = (a: Problem, b: Problem) =>
  (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

/** Puts numbers where the schema wants one and a variable gave a text. */
function withNumbers(raw: unknown, source: YamlSource): unknown {
  let result = raw;
  for (const issue of fileSchema.safeParse(raw).error?.issues ?? []) {
    const wantsNumber =
      issue.code === "invalid_type" && (issue.expected === "number" || issue.expected === "int");
    const number = wantsNumber ? source.numberFromVariable(issue.path as KeyPath) : undefined;
    if (number !== undefined) result = withValueAt(result, issue.path as KeyPath, number);
  }
  return result;
}

/** Parses and checks a file's text. Throws `ConfigurationError` with everything that is wrong with it. */
export function parseFile(
  text: string,
  fileName: string,
  environment: Environment,
): { readonly file: FileShape; readonly warnings: readonly Problem[] } {
  const source = new YamlSource(text, environment);
  if (source.syntaxErrors.length > 0) {
    const problems = source.syntaxErrors.map(({ position, message }) => ({
      file: fileName,
      ...position,
      key: "",
      message,
    }));
    throw new ConfigurationError(problems);
  }
  let raw: unknown;
  try {
    raw = source.toValue();
  } catch {
    const message = "aliases that repeat each other beyond reason";
    throw new ConfigurationError([{ file: fileName, line: 1, column: 1, key: "", message }]);
  }
  const { file, errors, warnings } = validate(withNumbers(raw, source));
  // A variable that is missing explains whatever else is wrong with its value.
  const missing = new Set(source.findings.map(({ path }) => formatPath(path)));
  const findings = [...source.findings, ...errors.filter(({ path }) => !missing.has(formatPath(path)))];
  if (findings.length > 0 || file === undefined) {
    throw new ConfigurationError(findings.map((one) => problemOf(source, fileName, one)).sort(byPlace));
  }
  return { file, warnings: warnings.map((one) => problemOf(source, fileName, one)).sort(byPlace) };
}

/** The settings that a file's text means. Throws `ConfigurationError`. */
export function settingsFromText(text: string, origin: Origin, environment: Environment): Settings {
  const { file, warnings } = parseFile(text, origin.name, environment);
  return compileSettings(file, origin, environment, warnings);
}
