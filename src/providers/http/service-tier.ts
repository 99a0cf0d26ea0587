/** A longer word is no tier's; callers and providers say it. */
const TIER_LENGTH_MAX = 32;

/** The tier that a request or an answer names; undefined where it names none. */
export const tierOf = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" && value.length <= TIER_LENGTH_MAX ? value : undefined;

/** For a usage: nothing where nothing was said. */
export function withTier(tier: string | undefined): { readonly serviceTier?: string } {
  return tier === undefined ? {} : { serviceTier: tier };
}
