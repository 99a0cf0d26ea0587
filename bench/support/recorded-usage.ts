import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Endpoint, ProviderFormat } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";

/** The collection of recorded calls beside the repository; its licences keep it out of it. */
const DATA = new URL("../../../shared/data/", import.meta.url);

const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  "chat.completions": "chat_completions",
  responses: "responses",
  embeddings: "embeddings",
  completions: "completions",
  messages: "messages",
};

/** One repository in three is held out: some half of the calls, as repositories differ in size. */
const HELD_OUT_OF = 3;

/** A recorded call with what the provider says that its input was. */
export interface RecordedUsage {
  readonly id: string;
  readonly repository: string;
  /** Nothing was fitted on it: told by its repository, as calls of one repository are much alike. */
  readonly isHeldOut: boolean;
  readonly provider: string;
  readonly model: string;
  readonly endpoint: Endpoint;
  readonly format: ProviderFormat;
  readonly body: Readonly<Record<string, unknown>>;
  readonly inputTokens: number;
}

type Row = Readonly<Record<string, unknown>>;

/** Rows of a file of the collection. Throws an error that says what is missing. */
export function collectionRows(name: string): readonly Row[] {
  const file = fileURLToPath(new URL(name, DATA));
  if (!existsSync(file))
    throw new Error(`${name} of the collection of recorded calls is not at ../shared/data`);
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Row);
}

export function isHeldOut(repository: string): boolean {
  return (createHash("sha256").update(repository).digest()[0] as number) % HELD_OUT_OF === 0;
}

/** Every recorded call with a usage, in the order of the files. */
export function recordedUsage(...files: readonly string[]): readonly RecordedUsage[] {
  return files.flatMap(collectionRows).flatMap((row) => {
    const endpoint = ENDPOINTS[row.api as string];
    const isAnswered = row.status === undefined || (row.status as number) < 300;
    if (endpoint === undefined || !isAnswered || typeof row.request_body !== "object") return [];
    const inputTokens = inputTokensOf(row);
    if (row.request_body === null || !(inputTokens > 0)) return [];
    const given = row.request_body as Readonly<Record<string, unknown>>;
    // Azure's older paths name the model in the path.
    const model = [given.model, row.response_model, "unknown"].find(
      (name) => typeof name === "string",
    ) as string;
    const repository = row.source_repo as string;
    return {
      id: row.id as string,
      repository,
      isHeldOut: isHeldOut(repository),
      provider: row.provider as string,
      model,
      endpoint,
      format: row.provider === "anthropic" ? anthropicFormat : openaiFormat,
      body: { ...given, model },
      inputTokens,
    };
  });
}

function inputTokensOf({ usage, provider }: Row): number {
  if (typeof usage !== "object" || usage === null) return 0;
  const counts = usage as Readonly<Record<string, unknown>>;
  const number = (name: string) => (typeof counts[name] === "number" ? counts[name] : 0);
  if (provider !== "anthropic") return number("prompt_tokens") || number("input_tokens");
  return number("input_tokens") + number("cache_creation_input_tokens") + number("cache_read_input_tokens");
}
