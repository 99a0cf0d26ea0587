import type { KeyPath } from "./problem.ts";

/** What a check found, before it is known where in the file that is. */
export interface Finding {
  readonly path: KeyPath;
  /** Whether the place is the last key of the path, not its value. */
  readonly atKey?: boolean;
  /** Whether the last key of the path must not be shown. */
  readonly hidesKey?: boolean;
  /** Whether to say what the value is, as written (never what a variable stands for, never a secret), or only what kind of value it is. */
  readonly shows?: "value" | "kind";
  readonly message: string;
}

/** The path as it may be shown. */
export const shownPath = ({ path, hidesKey }: Finding): KeyPath =>
  hidesKey === true ? [...path.slice(0, -1), "…"] : path;

export type Report = (finding: Finding) => void;

/** A mapping of the configuration before its shape is known to be right: the checks look at what is there and leave the rest to the schema. */
export type RawMap = Readonly<Record<string, unknown>>;

export const asMap = (value: unknown): RawMap =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as RawMap) : {};

export const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const asText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
