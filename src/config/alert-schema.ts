import { z } from "zod";
import { CIDR_ALLOWED, parseCidr } from "./address-matcher.ts";

/*
 * What the file says of alerts; see `file-schema.ts`.
 */

const SHARE_ALLOWED = "percent of the limit: a whole number from 1 to 1000 (beyond 100 is debt)";
const SHARES_ALLOWED = "a list of up to 10 numbers, such as [50, 80, 100]; [] for no alerts";
/** Limits that end no call go far beyond themselves. */
const SHARE_MAX = 1_000;
const SHARES_MAX = 10;
const WEBHOOK_URL_ALLOWED = "an http:// or https:// URL without user and fragment";
const SECRET_ALLOWED =
  "24 to 64 random bytes in Base64 (`openssl rand -base64 32`), with or without whsec_ before them, best as a variable from the environment";
/** What Standard Webhooks ask for. */
const SECRET_BYTES_MIN = 24;
const SECRET_BYTES_MAX = 64;

/** The URL as it is to be called; `undefined` for what is none. */
export function parseWebhookUrl(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol) || url.hostname === "") return undefined;
  return url.username !== "" || url.password !== "" || url.hash !== "" ? undefined : url;
}

/** Whether a text is a secret of Standard Webhooks. */
export function isWebhookSecret(text: string): boolean {
  const base64 = text.replace(/^whsec_/, "");
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(base64)) return false;
  const bytes = Buffer.from(base64, "base64").length;
  return bytes >= SECRET_BYTES_MIN && bytes <= SECRET_BYTES_MAX;
}

export const alertSharesSchema = () =>
  z
    .array(
      z
        .int({ error: SHARE_ALLOWED })
        .min(1, { error: SHARE_ALLOWED })
        .max(SHARE_MAX, { error: SHARE_ALLOWED }),
      { error: SHARES_ALLOWED },
    )
    .max(SHARES_MAX, { error: SHARES_ALLOWED });

const webhookSchema = z
  .strictObject({
    url: z
      .string({ error: WEBHOOK_URL_ALLOWED })
      .refine((text) => parseWebhookUrl(text) !== undefined, { error: WEBHOOK_URL_ALLOWED }),
    secret: z
      .string({ error: SECRET_ALLOWED })
      .refine(isWebhookSecret, { error: SECRET_ALLOWED })
      .describe("Signs every message, as Standard Webhooks say."),
    allow_addresses: z
      .array(
        z
          .string({ error: CIDR_ALLOWED })
          .refine((text) => parseCidr(text) !== undefined, { error: CIDR_ALLOWED }),
        { error: "a list of addresses or CIDR ranges" },
      )
      .default([])
      .describe("Addresses that are not public ones and may be called all the same, such as 10.0.0.0/8."),
  })
  .describe("Is told too, by POST, again and again for a quarter of an hour until it answers with 2xx.");

export const alertsSchema = z
  .strictObject({
    at: alertSharesSchema()
      .default([50, 80, 100])
      .describe("Percent of every limit on cost, unless the limit says otherwise."),
    webhook: webhookSchema.optional(),
  })
  .describe(
    "Tells of limits that are used up to a share: in the log, in the metrics, and by a webhook, once a subject, share and window.",
  );
