import { OperationalError } from "../core/operational-error.ts";

export type KeyPath = readonly (string | number)[];

/** Something wrong with a configuration, or worth a warning. Never holds the value of a secret or of an environment variable (X1). */
export interface Problem {
  /** Absent where the configuration is no file. */
  readonly file: string | undefined;
  /** Counted from 1. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** `plans.free.limits[0].per`; empty for the whole file. */
  readonly key: string;
  readonly message: string;
}

/** A configuration that cannot be used, with everything that is wrong with it. */
export class ConfigurationError extends OperationalError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super("invalid_configuration", problems.map(formatProblem).join("\n"));
    this.name = "ConfigurationError";
    this.problems = problems;
  }
}

/** `sluice.yaml:12:14: plans.free.limits[0].per: found "1 minute"; allowed: …` */
export function formatProblem(problem: Problem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
  return [place, problem.key, problem.message].filter((part) => part !== "").join(": ");
}

/** Keys look like this. Anything else may be a value that slipped into a key's place (`{ key "sk-…" }`), and is not shown (X1). */
const SHOWN_KEY = /^[A-Za-z0-9_./-]{1,64}$/;

export function formatPath(path: KeyPath): string {
  let result = "";
  for (const part of path) {
    if (typeof part === "number") result += `[${part}]`;
    else result += `${result === "" ? "" : "."}${SHOWN_KEY.test(part) ? part : "…"}`;
  }
  return result;
}
