import { z } from "zod";
import { CIDR_ALLOWED, parseCidr } from "./address-matcher.ts";
import { alertsSchema } from "./alert-schema.ts";
import {
  JOBS_ALLOWED,
  LISTEN_ALLOWED,
  parseBaseUrl,
  parseJobs,
  parseListen,
  parseStore,
  STORE_ALLOWED,
  URL_ALLOWED,
} from "./connections.ts";
import {
  count,
  duration,
  identifier,
  MIN_SHARE_DEFAULTS,
  NAME_PATTERN,
  name,
  oneOf,
  PROVIDER_NAME_PATTERN,
} from "./field-schemas.ts";
import { limitSchema } from "./limit-schema.ts";
import { discountSchema, priceSchema, serviceTiersSchema, unknownPriceSchema } from "./price-schema.ts";

/*
 * The shape of the file: keys, types, defaults. No transformations, so that the JSON Schema and `SluiceOptions` describe the same thing. What needs
 * more than one value to judge is in `limit-checks.ts` and `cross-checks.ts`. Error texts say what is allowed; `explain-issue.ts` adds what was found.
 */

/** An HTTP token (RFC 9110). */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

const MIB = 1_048_576;
/** What is held for the output where nobody knows better. */
export const OUTPUT_TOKENS_DEFAULT = 1_024;

const PRIORITY_NAMES = ["low", "normal", "high", "critical"] as const;

const WEIGHT_ALLOWED = "a number from 0.001 to 1000";

const planSchema = z
  .strictObject({
    priority: oneOf(...PRIORITY_NAMES).default("normal"),
    weight: z
      .number({ error: WEIGHT_ALLOWED })
      .min(0.001, { error: WEIGHT_ALLOWED })
      .max(1_000, { error: WEIGHT_ALLOWED })
      .default(1)
      .describe("Share inside a priority."),
    limits: z
      .array(limitSchema, { error: "a list of limits" })
      .default([])
      .describe("Per user unless `scope` says otherwise."),
    when_limited: oneOf("reject", "wait", "defer")
      .default("wait")
      .describe("defer: wait, then become a job; jobs are not built yet, so that for now it waits."),
    max_wait: duration().optional().describe("How long a call waits at most; 20s by default."),
    keepalive: z
      .boolean({ error: "true or false" })
      .default(false)
      .describe(
        "Answer streamed calls that wait for seconds with comments meanwhile: for clients that give up on a silent connection. Their status is 200 then, and refusals come inside the stream.",
      ),
    unread_calls: oneOf("pass", "refuse")
      .default("pass")
      .describe(
        "Calls that are passed on unread and paid for (batches, images, audio files, Azure's deployments, paths that nobody knows): limits on model tokens and cost do not count what they use.",
      ),
  })
  .meta({ title: "Plan" });

const KEY_ALLOWED = `the provider's key in printable ASCII characters, without blanks and line ends, best as \${NAME} from the environment`;
/** What a header can carry, and every provider's keys consist of. */
const KEY_PATTERN = /^[\x21-\x7e]+$/;

const accountSchema = z.strictObject({
  name: name(),
  key: z
    .string({ error: KEY_ALLOWED })
    .regex(KEY_PATTERN, { error: KEY_ALLOWED })
    .optional()
    .describe("Left out for a server that wants none."),
  limits: z
    .array(limitSchema, { error: "a list of limits" })
    .default([])
    .describe("What the provider grants this account."),
  discount: discountSchema().describe("Instead of the provider's."),
});

const providerSchema = z.strictObject({
  format: oneOf("openai", "anthropic")
    .optional()
    .describe("The wire format; openai unless the provider is called anthropic."),
  base_url: z
    .string({ error: URL_ALLOWED })
    .refine((text) => parseBaseUrl(text) !== undefined, { error: URL_ALLOWED })
    .optional()
    .describe("Needed for every provider not called openai or anthropic."),
  accounts: z
    .array(accountSchema, { error: "a list of accounts" })
    .min(1, { error: "a list of one account or more" })
    .optional(),
  discount: discountSchema().describe(
    "Off the catalogue's prices: 0.15 for 15 % less. Own prices are what is paid.",
  ),
  service_tiers: serviceTiersSchema().describe(
    "How many times the catalogue's prices model tokens cost where a call is served as flex, priority, fast, us, …; once, where nothing is said.",
  ),
});

const CLIENT_KEY_ALLOWED = "8 or more printable ASCII characters, without blanks and line ends";
const CLIENT_KEY_PATTERN = /^[\x21-\x7e]{8,}$/;

const keySchema = z.strictObject({
  key: z
    .string({ error: CLIENT_KEY_ALLOWED })
    .regex(CLIENT_KEY_PATTERN, { error: CLIENT_KEY_ALLOWED })
    .optional()
    .describe("The key that the client sends."),
  key_sha256: z
    .string({ error: "64 hexadecimal digits" })
    .regex(/^[0-9a-f]{64}$/, { error: "64 hexadecimal digits in lower case" })
    .optional()
    .describe("Its SHA-256 instead, so that the file holds no key."),
  name: name().optional().describe("What metrics and limits call the key; the user's name by default."),
  user: identifier(),
  team: identifier().optional(),
  feature: identifier().optional(),
  plan: identifier().optional(),
  priority: oneOf(...PRIORITY_NAMES)
    .optional()
    .describe("Instead of the plan's."),
});

const header = () =>
  z.string({ error: "the name of a header" }).regex(HEADER_NAME, { error: "the name of a header" });

const trustedHeadersSchema = z
  .strictObject({
    from: z
      .array(
        z
          .string({ error: CIDR_ALLOWED })
          .refine((text) => parseCidr(text) !== undefined, { error: CIDR_ALLOWED }),
        { error: "a list of addresses or CIDR ranges" },
      )
      .min(1, { error: "a list of one address or range or more" }),
    user: header(),
    plan: header().optional(),
    team: header().optional(),
    feature: header().optional(),
  })
  .describe("Headers that are believed when they come from these addresses, and dropped otherwise.");

const identitySchema = z.strictObject({
  keys: z.array(keySchema, { error: "a list of keys" }).default([]),
  trusted_headers: trustedHeadersSchema.optional(),
  default_plan: identifier()
    .optional()
    .describe("For callers of whom no plan is known; the only plan where there is one."),
  anonymous: z
    .string({ error: "reject, or the name of a plan" })
    .default("reject")
    .describe("reject, or the plan of callers without a key, counted per address."),
});

const boundsSchema = z.strictObject({
  body_bytes_max: count("a number of bytes")
    .default(32 * MIB)
    .describe("Longest request body: what Anthropic takes."),
  provider_timeout: duration().default("10m").describe("Longest silence of a provider."),
  shutdown_timeout: duration().default("30s").describe("How long calls in flight may finish on SIGTERM."),
  disconnect_drain_max: duration()
    .default("60s")
    .describe("With on_disconnect: drain, how long to go on reading."),
  waiting_max: count("a whole number of 1 or more").default(10_000).describe("Calls waiting, in total."),
  waiting_per_user_max: count("a whole number of 1 or more")
    .default(100)
    .describe("Calls waiting, of one user."),
  waiting_bytes_max: count("a number of bytes")
    .default(256 * MIB)
    .describe("Bodies of waiting calls, in total."),
  waiting_bytes_per_user_max: count("a number of bytes")
    .default(64 * MIB)
    .describe("Bodies of waiting calls, of one user."),
});

const SHARE_ALLOWED = "a number from 0 to 0.5";

const minShare = (share: number) =>
  z
    .number({ error: SHARE_ALLOWED })
    .min(0, { error: SHARE_ALLOWED })
    .max(0.5, { error: SHARE_ALLOWED })
    .default(share);

const minShareSchema = z
  .strictObject({
    high: minShare(MIN_SHARE_DEFAULTS.high),
    normal: minShare(MIN_SHARE_DEFAULTS.normal),
    low: minShare(MIN_SHARE_DEFAULTS.low),
  })
  .describe("The share of all service that a priority's waiting calls get though higher ones could take it.");

const text = (allowed: string, parse: (value: string) => unknown) =>
  z.string({ error: allowed }).refine((value) => parse(value) !== undefined, { error: allowed });

export const fileSchema = z
  .strictObject({
    listen: z
      .union([z.string(), z.number()], { error: LISTEN_ALLOWED })
      .refine((value) => parseListen(value) !== undefined, { error: LISTEN_ALLOWED })
      .default("127.0.0.1:8080")
      .describe("The data port."),
    admin: z
      .union([z.string(), z.number()], { error: `${LISTEN_ALLOWED}, or off` })
      .refine((value) => value === "off" || parseListen(value) !== undefined, {
        error: `${LISTEN_ALLOWED}, or off`,
      })
      .default("127.0.0.1:8081")
      .describe("Where the dashboard and the admin API will be, or off; they are not built yet."),
    store: text(STORE_ALLOWED, (value) => parseStore(value, "."))
      .optional()
      .describe("Where counters live; embedded:./.sluice by default."),
    jobs: text(JOBS_ALLOWED, parseJobs)
      .default("embedded")
      .describe("Where jobs will live; they are not built yet."),
    providers: z
      .record(z.string(), providerSchema)
      .meta({ propertyNames: { pattern: PROVIDER_NAME_PATTERN.source } })
      .optional()
      .describe("OpenAI and Anthropic with the keys of the environment by default."),
    plans: z
      .record(z.string(), planSchema)
      .meta({ propertyNames: { pattern: NAME_PATTERN.source } })
      .optional()
      .describe("One plan called default, without limits, where there are none."),
    limits: z
      .array(limitSchema, { error: "a list of limits" })
      .default([])
      .describe("Shared limits, beside the plans'."),
    identity: identitySchema.prefault({}),
    aliases: z
      .record(identifier(), identifier())
      .default({})
      .describe("Names for models that clients may use, and what they stand for."),
    prices: z
      .array(priceSchema, { error: "a list of prices" })
      .default([])
      .describe("Own prices, before those of the catalogue."),
    unknown_price: unknownPriceSchema,
    defaults: z
      .strictObject({
        output_tokens: count("a whole number of 1 or more")
          .default(OUTPUT_TOKENS_DEFAULT)
          .describe("Output expected of a call of which nothing better is known."),
      })
      .prefault({}),
    on_disconnect: oneOf("abort", "drain")
      .default("abort")
      .describe("When a client leaves its stream: stop paying, or read on to learn the exact usage."),
    alerts: alertsSchema.prefault({}),
    min_share: minShareSchema.prefault({}),
    bounds: boundsSchema.prefault({}),
  })
  .meta({ title: "sluice.yaml", description: "The configuration of Sluice." });

/** The file with its defaults. */
export type FileShape = z.output<typeof fileSchema>;
