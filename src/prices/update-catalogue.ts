import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Provider } from "@pydantic/genai-prices";
import { catalogueFileText, checkProviders } from "./catalogue-file.ts";
import { loadPackage, packageVersion } from "./genai-price-catalogue.ts";

/** For a megabyte over a slow line. */
const FETCH_TIMEOUT_MS = 60_000;
/** Thirty times what it is now. */
const BYTES_MAX = 32 * 1_048_576;

export interface CatalogueUpdate {
  /** The catalogue's own address by default. */
  readonly url?: string | undefined;
  readonly file: string;
}

export type UpdateOutcome =
  | {
      readonly kind: "updated";
      readonly providers: number;
      readonly models: number;
      /** Beside the package's own list. */
      readonly added: number;
      readonly changed: number;
    }
  /** Nothing was changed. */
  | { readonly kind: "failed"; readonly reason: string };

class UpdateFailure extends Error {}

async function fetchText(url: string): Promise<string> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  if (!answer.ok || answer.body === null) {
    await answer.body?.cancel();
    throw new UpdateFailure(`the answer is ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.length;
    if (bytes > BYTES_MAX) throw new UpdateFailure(`the answer is longer than ${BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Every price by what it is of, as the list has it. */
function pricesById(providers: readonly Provider[]): ReadonlyMap<string, string> {
  const entries = providers.flatMap(({ id, models }) =>
    models.map((model): [string, string] => [`${id}/${model.id}`, JSON.stringify(model.prices)]),
  );
  return new Map(entries);
}

/** What an error of `fetch` is about: its own message says only that it failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer in ${FETCH_TIMEOUT_MS / 1_000} s`;
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

/** Whole and on the disk before it takes the old file's place: who reads sees one or the other. */
async function replaceFile(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Fetches the catalogue's newest prices, checks every one of them, and only then puts them in the file's place. A gateway reads the file when it starts and when its
 * configuration changes.
 */
export async function updateCatalogue({ url, file }: CatalogueUpdate): Promise<UpdateOutcome> {
  const { REMOTE_DATA_JSON_URL, waitForUpdate, updatePrices } = loadPackage();
  const source = url ?? REMOTE_DATA_JSON_URL;
  try {
    const known = pricesById((await waitForUpdate()) ?? []);
    const providers = checkProviders(JSON.parse(await fetchText(source)));
    // The package's own checks, beside ours.
    updatePrices(({ setProviderData }) => setProviderData([...providers]));
    await replaceFile(file, catalogueFileText(providers, source, packageVersion(), new Date()));
    const fetched = [...pricesById(providers)];
    return {
      kind: "updated",
      providers: providers.length,
      models: fetched.length,
      added: fetched.filter(([id]) => !known.has(id)).length,
      changed: fetched.filter(([id, prices]) => known.has(id) && known.get(id) !== prices).length,
    };
  } catch (error) {
    return { kind: "failed", reason: `${source}: ${reasonOf(error)}` };
  }
}
