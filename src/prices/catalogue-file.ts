import type { Provider } from "@pydantic/genai-prices";
import { isQuickPattern } from "./quick-pattern.ts";
import { readPriceList } from "./read-price-list.ts";

/** What `sluice prices update` writes. */
interface CatalogueFile {
  readonly format: 1;
  /** RFC 3339. */
  readonly fetched_at: string;
  readonly source: string;
  /** The package that was installed then: with a later one, its own prices are the newer ones. */
  readonly package_version: string;
  readonly providers: readonly Provider[];
}

export type ParsedCatalogue =
  | { readonly kind: "valid"; readonly fetchedAt: string; readonly providers: readonly Provider[] }
  | { readonly kind: "invalid"; readonly reason: string };

/** Far fewer than there are: less is half a catalogue, or none. */
const MODELS_MIN = 100;
/** Providers without which nobody's budget would work. */
const NEEDED_PROVIDERS = ["openai", "anthropic"];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function reject(reason: string): never {
  throw new RangeError(reason);
}

function checkPattern(pattern: string, where: string): void {
  if (!isQuickPattern(pattern)) reject(`${where}: a pattern that may take too long: ${pattern.slice(0, 80)}`);
}

/** Only the package's own operators, and patterns that compile and end soon on every name. */
function checkMatch(match: unknown, where: string): void {
  if (!isObject(match)) reject(`${where} does not say which models it is for`);
  for (const [operator, operand] of Object.entries(match)) {
    if (operator === "and" || operator === "or") {
      if (!Array.isArray(operand)) reject(`${where}: "${operator}" wants a list`);
      for (const one of operand) checkMatch(one, where);
      continue;
    }
    if (typeof operand !== "string") reject(`${where}: "${operator}" wants a text`);
    if (operator !== "regex") continue;
    checkPattern(operand, where);
  }
}

function checkFields(fields: unknown, where: string): void {
  if (!isObject(fields)) reject(`${where} has no prices`);
  for (const [name, value] of Object.entries(fields)) {
    const tiers = isObject(value) ? value.tiers : [];
    if (!Array.isArray(tiers)) reject(`${where}: ${name}: tiers want a list`);
    const numbers = isObject(value)
      ? [
          value.base,
          ...tiers.flatMap((tier: unknown) => (isObject(tier) ? [tier.start, tier.price] : [undefined])),
        ]
      : [value];
    for (const number of numbers) {
      if (typeof number !== "number" || !(number >= 0))
        reject(`${where}: ${name}: ${String(number)} is no price`);
    }
  }
}

function checkModel(model: unknown, provider: string): void {
  if (!isObject(model) || typeof model.id !== "string") reject(`a model of ${provider} has no id`);
  const where = `${provider}/${model.id}`;
  checkMatch(model.match, where);
  for (const one of Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }]) {
    checkFields(isObject(one) ? one.prices : undefined, where);
  }
  try {
    readPriceList(model as unknown as Provider["models"][number]);
  } catch (error) {
    reject(`${where}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The providers of a catalogue's data, every model checked. Throws `RangeError` or `SyntaxError` with what is wrong. */
export function checkProviders(data: unknown): readonly Provider[] {
  if (!Array.isArray(data)) reject("it is no list of providers");
  let models = 0;
  const ids = new Set<string>();
  for (const provider of data as unknown[]) {
    if (!isObject(provider) || typeof provider.id !== "string" || !Array.isArray(provider.models)) {
      reject("a provider has no id or no models");
    }
    if (typeof provider.api_pattern !== "string") reject(`${provider.id} has no api_pattern`);
    checkPattern(provider.api_pattern, provider.id);
    for (const part of ["model_match", "provider_match"]) {
      if (provider[part] !== undefined && provider[part] !== null) checkMatch(provider[part], provider.id);
    }
    ids.add(provider.id);
    for (const model of provider.models) checkModel(model, provider.id);
    models += provider.models.length;
  }
  const missing = NEEDED_PROVIDERS.find((id) => !ids.has(id));
  if (missing !== undefined) reject(`the provider ${missing} is missing`);
  if (models < MODELS_MIN) reject(`it has ${models} models only`);
  return data as readonly Provider[];
}

/** Reads what `catalogueFileText` wrote. Of another version of the package, it is as good as not there: which is newer, nobody can tell. */
export function parseCatalogueFile(text: string, packageVersion: string): ParsedCatalogue {
  try {
    const file: unknown = JSON.parse(text);
    if (!isObject(file) || file.format !== 1 || typeof file.fetched_at !== "string")
      reject("it is no file of prices");
    if (file.package_version !== packageVersion) {
      reject(
        `they were downloaded beside version ${String(file.package_version)} of the catalogue, and ${packageVersion} is installed: \`sluice prices update\` fetches them again`,
      );
    }
    return { kind: "valid", fetchedAt: file.fetched_at, providers: checkProviders(file.providers) };
  } catch (error) {
    return { kind: "invalid", reason: error instanceof Error ? error.message : String(error) };
  }
}

export function catalogueFileText(
  providers: readonly Provider[],
  source: string,
  packageVersion: string,
  fetchedAt: Date,
): string {
  const file: CatalogueFile = {
    format: 1,
    fetched_at: fetchedAt.toISOString(),
    source,
    package_version: packageVersion,
    providers,
  };
  return JSON.stringify(file);
}
