import { isSpecialTier } from "../core/price/service-tier.ts";
import { asList, asMap, asText, type RawMap, type Report } from "./finding.ts";
import { parseFrom, TIER_NAME } from "./price-schema.ts";
import type { KeyPath } from "./problem.ts";

/** The providers that a file names, or those that there are where it names none. */
const providerNames = (file: RawMap): readonly string[] =>
  file.providers === undefined ? ["openai", "anthropic"] : Object.keys(asMap(file.providers));

function checkTiers(tiers: unknown, path: KeyPath, report: Report): void {
  for (const tier of Object.keys(asMap(tiers))) {
    const at = { path: [...path, "service_tiers", tier], atKey: true };
    if (!TIER_NAME.test(tier))
      report({ ...at, message: "allowed: lower-case letters and underscores, up to 32" });
    else if (!isSpecialTier(tier)) {
      report({
        ...at,
        message: `what is served as ${tier} has the usual price; allowed: flex, priority, fast, …`,
      });
    }
  }
}

/** What is wrong with own prices that takes more than one of them, or the providers, to see. */
export function checkPrices(file: RawMap, report: Report): void {
  const providers = providerNames(file);
  const aliases = asMap(file.aliases);
  const seen = new Set<string>();
  for (const [provider, shape] of Object.entries(asMap(file.providers))) {
    checkTiers(asMap(shape).service_tiers, ["providers", provider], report);
  }
  asList(file.prices).forEach((entry, i) => {
    const price = asMap(entry);
    const path = ["prices", i];
    checkTiers(price.service_tiers, path, report);
    const provider = asText(price.provider);
    const model = asText(price.model);
    if (provider !== undefined && !providers.includes(provider)) {
      const message = `there is no such provider; allowed: ${providers.join(", ")}`;
      report({ path: [...path, "provider"], shows: "value", message });
    }
    if (model === undefined) return;
    if (Object.hasOwn(aliases, model)) {
      const message = `this is an alias; prices are those of the model that it stands for: ${String(aliases[model])}`;
      report({ path: [...path, "model"], shows: "value", message });
    }
    const from = asText(price.from);
    const key = JSON.stringify([provider, model, from === undefined ? "always" : parseFrom(from)]);
    if (seen.has(key))
      report({ path, message: "another price of this model begins to hold at the same time" });
    seen.add(key);
  });
}
