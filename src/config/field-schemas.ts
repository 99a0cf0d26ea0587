import { z } from "zod";
import { DURATION_ALLOWED, DURATION_PATTERN } from "./duration.ts";

/* Kinds of values that occur in several places of the file; see `file-schema.ts`. */

/** Of plans, keys, accounts and limits: fit for headers, paths and labels of metrics. */
export const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const NAME_ALLOWED = "a name of up to 64 letters, digits, dots, dashes and underscores";
/** Part of a path (`/PROVIDER/…`) and of metrics' labels. */
export const PROVIDER_NAME_PATTERN = /^[a-z0-9][a-z0-9_-]{0,31}$/;
/** Users, teams and features are the operator's own names: anything, within reason. */
const IDENTIFIER_LENGTH_MAX = 256;

export const name = () => z.string({ error: NAME_ALLOWED }).regex(NAME_PATTERN, { error: NAME_ALLOWED });
export const identifier = () =>
  z
    .string({ error: "a text of 1 to 256 characters" })
    .min(1, { error: "a text of 1 to 256 characters" })
    .max(IDENTIFIER_LENGTH_MAX, { error: "a text of 1 to 256 characters" });
export const duration = () =>
  z.string({ error: DURATION_ALLOWED }).regex(DURATION_PATTERN, { error: DURATION_ALLOWED });
export const count = (allowed: string) => z.int({ error: allowed }).min(1, { error: allowed });
export const oneOf = <const T extends readonly string[]>(...values: T) =>
  z.enum(values, { error: `one of ${values.join(", ")}` });

/** Of what is served, by priority; the schema fills them in, and `cross-checks.ts` adds them up. */
export const MIN_SHARE_DEFAULTS = { high: 0.1, normal: 0.1, low: 0.05 } as const;
