import { z } from "zod";
import { isTimezone } from "../core/policy/calendar-boundaries.ts";
import { alertSharesSchema } from "./alert-schema.ts";
import { DURATION_ALLOWED } from "./duration.ts";
import { identifier, name, oneOf } from "./field-schemas.ts";

/*
 * What the file says of a limit; see `file-schema.ts`.
 */

const SCOPES = ["user", "key", "team", "feature", "model", "global", "account"] as const;
const METERS = ["requests", "input_tokens", "output_tokens", "tokens", "cost", "concurrency"] as const;
const SCOPE_ALLOWED = `one of ${SCOPES.join(", ")}, or a list of them`;
const PER_ALLOWED = `${DURATION_ALLOWED}, or day, week, month`;
const WEIGHT_ALLOWED = "a number from 0 to 1000 with three decimals at most";
/** The most that thousandths of weights times tokens keep exact. */
const WEIGHT_MAX = 1_000;

const weight = () =>
  z
    .number({ error: WEIGHT_ALLOWED })
    .min(0, { error: WEIGHT_ALLOWED })
    .max(WEIGHT_MAX, { error: WEIGHT_ALLOWED })
    .multipleOf(0.001, { error: WEIGHT_ALLOWED })
    .default(1);

const LIMIT_ALLOWED = "a number above 0 (leave the limit out where there is none)";

export const limitSchema = z
  .strictObject({
    name: name()
      .optional()
      .describe("How answers and metrics call it; made of scope, meter and window by default."),
    scope: z
      .union([z.enum(SCOPES), z.array(z.enum(SCOPES)).min(1)], { error: SCOPE_ALLOWED })
      .optional()
      .describe("What is counted separately: per user by default (per account in an account's limits)."),
    match: z
      .strictObject({
        user: identifier().optional(),
        key: identifier().optional(),
        team: identifier().optional(),
        feature: identifier().optional(),
        model: identifier().optional(),
        account: identifier().optional(),
      })
      .default({})
      .describe(
        "Only for calls with these attributes; `*` stands for anything. Accounts are written PROVIDER/ACCOUNT.",
      ),
    meter: oneOf(...METERS).describe("What is counted. `cost` is in US dollars."),
    limit: z
      .number({ error: LIMIT_ALLOWED })
      .positive({ error: LIMIT_ALLOWED })
      .describe("How much at most."),
    per: z
      .string({ error: PER_ALLOWED })
      .regex(/^((0|[1-9]\d{0,11})(ms|s|m|h|d)|day|week|month)$/, { error: PER_ALLOWED })
      .optional()
      .describe("A rolling window (1m, 1h, 7d) or a calendar one (day, week, month)."),
    algorithm: oneOf("sliding_window", "token_bucket")
      .optional()
      .describe(
        "For rolling windows: sliding_window by default, token_bucket in an account's limits, since providers count so.",
      ),
    burst: z
      .number({ error: "a number above 0" })
      .positive({ error: "a number above 0" })
      .optional()
      .describe("Of a token bucket: how much at once; the limit by default."),
    timezone: z
      .string({ error: "an IANA time zone such as Europe/Vienna" })
      .refine(isTimezone, { error: "an IANA time zone such as Europe/Vienna" })
      .optional()
      .describe("Whose midnight starts a day, week or month; UTC by default."),
    mode: oneOf("enforce", "shadow")
      .default("enforce")
      .describe("shadow: counted and reported, never refused by."),
    reserve: oneOf("expected", "worst_case", "none")
      .optional()
      .describe("What is held before the call; expected by default."),
    on_store_failure: oneOf("open", "closed", "local")
      .optional()
      .describe(
        "While the store is away: admit, refuse, or count in this process; closed for cost, local otherwise.",
      ),
    on_exhausted: oneOf("continue", "cut")
      .optional()
      .describe(
        "When a stream outgrows its hold and the limit is used up: let it go on and owe the rest, or end it; continue by default.",
      ),
    alerts_at: alertSharesSchema()
      .optional()
      .describe(
        "Percent of the limit at which somebody is told, see `alerts`; for cost those of `alerts.at`, for other meters none by default.",
      ),
    weights: z
      .strictObject({ input: weight(), cached_input: weight(), output: weight() })
      .optional()
      .describe("How much a model token of each kind counts on the meter tokens."),
  })
  .meta({ title: "Limit" });

export type LimitShape = z.output<typeof limitSchema>;
