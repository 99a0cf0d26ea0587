import { z } from "zod";

/*
 * What the file says of prices; see `file-schema.ts`.
 */

export const USD_ALLOWED = "US dollars per million tokens, from 0 to 1000000";
/** Rates beyond this are no prices (`RATE_MAX`). */
const USD_MAX = 1_000_000;
const REQUEST_ALLOWED = "US dollars per call, from 0 to 1";
export const SHARE_ALLOWED = "a share from 0 to 1 with four decimals at most, such as 0.15";
export const FROM_ALLOWED =
  "a date such as 2026-07-01 (its midnight in UTC), or a time such as 2026-07-01T09:00:00+02:00";
const MODEL_ALLOWED = "the name of a model; * stands for anything";
const MODEL_LENGTH_MAX = 256;

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;

/** Epoch milliseconds of a date or a time; `undefined` for anything else, and for days that no month has. */
export function parseFrom(text: string): number | undefined {
  if (!DATE.test(text) && !TIME.test(text)) return undefined;
  const day = text.slice(0, 10);
  const midnightMs = Date.parse(`${day}T00:00:00Z`);
  // `Date` takes the 31st of any month.
  if (Number.isNaN(midnightMs) || new Date(midnightMs).toISOString().slice(0, 10) !== day) return undefined;
  const atMs = DATE.test(text) ? midnightMs : Date.parse(text);
  return Number.isNaN(atMs) ? undefined : atMs;
}

const usd = () =>
  z.number({ error: USD_ALLOWED }).min(0, { error: USD_ALLOWED }).max(USD_MAX, { error: USD_ALLOWED });

/** Shares of list prices. */
export const discountSchema = () =>
  z
    .number({ error: SHARE_ALLOWED })
    .min(0, { error: SHARE_ALLOWED })
    .max(1, { error: SHARE_ALLOWED })
    .multipleOf(0.0001, { error: SHARE_ALLOWED })
    .optional();

const TIER_ALLOWED =
  "how many times the usual price of model tokens, from 0 to 100 with four decimals at most, such as 0.5";
const TIERS_ALLOWED = "ways of serving with their prices, such as { flex: 0.5, priority: 2 }";
const TIER_MAX = 100;
/** As providers call them. */
export const TIER_NAME = /^[a-z][a-z_]{0,31}$/;

/** Ways of serving by how many times the usual price they cost. */
export const serviceTiersSchema = () =>
  z
    .record(
      z.string(),
      z
        .number({ error: TIER_ALLOWED })
        .min(0, { error: TIER_ALLOWED })
        .max(TIER_MAX, { error: TIER_ALLOWED })
        .multipleOf(0.0001, { error: TIER_ALLOWED }),
      { error: TIERS_ALLOWED },
    )
    .meta({ propertyNames: { pattern: TIER_NAME.source } })
    .optional();

export const priceSchema = z
  .strictObject({
    model: z
      .string({ error: MODEL_ALLOWED })
      .min(1, { error: MODEL_ALLOWED })
      .max(MODEL_LENGTH_MAX, { error: MODEL_ALLOWED })
      .describe(
        "What providers call it, not an alias; * stands for anything. Of two that match, the first counts.",
      ),
    provider: z
      .string({ error: "the name of a provider in this file" })
      .optional()
      .describe("Only for this one of the providers in this file."),
    input: usd().describe("US dollars per million input tokens."),
    cached_input: usd().optional().describe("Read from the provider's cache; as input by default."),
    cache_write: usd().optional().describe("Written to the provider's cache; as input by default."),
    output: usd().describe("US dollars per million output tokens, reasoning included."),
    request: z
      .number({ error: REQUEST_ALLOWED })
      .min(0, { error: REQUEST_ALLOWED })
      .max(1, { error: REQUEST_ALLOWED })
      .optional()
      .describe("US dollars per call, beside its tokens."),
    service_tiers: serviceTiersSchema().describe(
      "How many times the price its model tokens cost where a call is served as flex, priority, …; once, where nothing is said.",
    ),
    from: z
      .string({ error: FROM_ALLOWED })
      .refine((text) => parseFrom(text) !== undefined, { error: FROM_ALLOWED })
      .optional()
      .describe(
        "When it begins to hold; always, where there is none. Calls keep the price that they were admitted at.",
      ),
  })
  .meta({ title: "Price" });

export const unknownPriceSchema = z
  .union([z.literal("refuse"), z.strictObject({ input: usd(), output: usd() })], {
    error: `refuse, or { input: …, output: … } with ${USD_ALLOWED}`,
  })
  .default("refuse")
  .describe(
    "Of models that neither this file nor the catalogue has a price of, for calls that a limit on cost applies to.",
  );

export type PriceShape = z.output<typeof priceSchema>;
