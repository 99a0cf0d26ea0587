import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { ModelInfo, Provider } from "@pydantic/genai-prices";
import type { PriceHistory } from "../core/price/price-book.ts";
import type { PriceCatalogue } from "../ports/price-catalogue.ts";
import type { Telemetry } from "../ports/telemetry.ts";
import { parseCatalogueFile } from "./catalogue-file.ts";
import { readPriceList } from "./read-price-list.ts";

type Package = typeof import("@pydantic/genai-prices");

const requirePackage = createRequire(import.meta.url);

/** What counts where a file of prices cannot be used: the package keeps what it was given last, for the whole process. */
let inForce: "the built-in ones" | "those read before" = "the built-in ones";

/** The package: 30 ms to load, so only where prices are needed. */
export const loadPackage = (): Package => requirePackage("@pydantic/genai-prices") as Package;

/** Version of the package, which is the age of its prices. */
export const packageVersion = (): string =>
  // Its manifest is not among its exports; it is beside its code.
  (
    JSON.parse(
      readFileSync(
        requirePackage.resolve("@pydantic/genai-prices").replace(/dist[\\/][^\\/]+$/, "package.json"),
        "utf8",
      ),
    ) as { readonly version: string }
  ).version;

/** A provider as the configuration calls it. */
export interface CataloguedProvider {
  readonly name: string;
  readonly baseUrl: string;
}

export interface ListedModel {
  readonly provider: Provider;
  readonly model: ModelInfo;
}

/** Where newer prices than the package's own may be, and who is told whether they are used. */
export interface CatalogueOptions {
  readonly providers: readonly CataloguedProvider[];
  /** Written by `sluice prices update`; need not exist. */
  readonly file: string | undefined;
  readonly telemetry: Telemetry;
}

/**
 * The prices of `@pydantic/genai-prices`, or those of a newer version of its data in a file. Which of its providers one of the configuration is, is decided by the
 * base URL, and by the name where the URL says nothing (a proxy, a test). The package keeps its data for the whole process: the catalogue made last decides.
 *
 * Nothing is read before the first question.
 */
export class GenaiPriceCatalogue implements PriceCatalogue {
  readonly #options: CatalogueOptions;
  /** By Sluice's name of the provider. */
  readonly #providerIds = new Map<string, string | undefined>();
  #package: Package | undefined;

  constructor(options: CatalogueOptions) {
    this.#options = options;
  }

  /** Reads the prices now instead of at the first question. */
  load(): void {
    this.#loaded();
  }

  historyOf(provider: string, model: string): PriceHistory | undefined {
    const found = this.find(provider, model);
    try {
      return found === undefined ? undefined : readPriceList(found.model);
    } catch {
      // Only a file that has changed under our hands; what it says is no price.
      return undefined;
    }
  }

  /** The catalogue's own entry; `undefined` where it has none. */
  find(provider: string, model: string): ListedModel | undefined {
    const { calcPrice } = this.#loaded();
    const providerId = this.#providerId(provider);
    if (provider !== "" && providerId === undefined) return undefined;
    try {
      // Prices nothing: what is wanted is the entry, with all its dates.
      return calcPrice({}, model, providerId === undefined ? {} : { providerId }) ?? undefined;
    } catch {
      // An entry that the package itself cannot make sense of.
      return undefined;
    }
  }

  #providerId(name: string): string | undefined {
    if (this.#providerIds.has(name)) return this.#providerIds.get(name);
    const { findProvider } = this.#loaded();
    const baseUrl = this.#options.providers.find((provider) => provider.name === name)?.baseUrl;
    const byUrl = baseUrl === undefined ? undefined : findProvider({ providerApiUrl: baseUrl });
    const id = (byUrl ?? (name === "" ? undefined : findProvider({ providerId: name })))?.id;
    this.#providerIds.set(name, id);
    return id;
  }

  #loaded(): Package {
    if (this.#package !== undefined) return this.#package;
    const loaded = loadPackage();
    this.#package = loaded;
    const newer = this.#readFile();
    if (newer !== undefined) {
      loaded.updatePrices(({ setProviderData }) => setProviderData([...newer]));
      inForce = "those read before";
    }
    return loaded;
  }

  #readFile(): readonly Provider[] | undefined {
    const { file, telemetry } = this.#options;
    if (file === undefined) return undefined;
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        telemetry.log("warn", `the downloaded prices cannot be read; ${inForce} are used`, {
          file,
          error: String(error),
        });
      }
      return undefined;
    }
    const parsed = parseCatalogueFile(text, packageVersion());
    if (parsed.kind === "invalid") {
      telemetry.log("warn", `the downloaded prices are not used, but ${inForce}: ${parsed.reason}`, { file });
      return undefined;
    }
    telemetry.log("info", "prices as downloaded", { file, fetchedAt: parsed.fetchedAt });
    return parsed.providers;
  }
}
