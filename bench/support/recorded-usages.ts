import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Endpoint, ProviderFormat } from "../../src/ports/provider-format.ts";
import { anthropicFormat } from "../../src/providers/anthropic/format.ts";
import { openaiFormat } from "../../src/providers/openai/format.ts";
import type { RecordedCall } from "./simulate-holds.ts";

const FILE = join(import.meta.dirname, "..", "..", "..", "shared", "data", "usage_pairs.jsonl");

/** Usual for a gateway of a small team: the recordings have no times of their own. */
const CALLS_PER_SECOND = 1;

interface Pair {
  readonly provider: string;
  readonly api: string;
  readonly model: string | null;
  readonly request_body: unknown;
  readonly usage: Readonly<Record<string, unknown>>;
}

const ENDPOINTS: ReadonlyMap<string, readonly [ProviderFormat, Endpoint]> = new Map([
  ["chat.completions", [openaiFormat, "chat_completions"]],
  ["responses", [openaiFormat, "responses"]],
  ["messages", [anthropicFormat, "messages"]],
]);

const count = (value: unknown) => (typeof value === "number" ? value : 0);

function recordedCall(pair: Pair, index: number): RecordedCall | undefined {
  const known = ENDPOINTS.get(pair.api);
  const { usage } = pair;
  const outputTokens = count(usage.completion_tokens) + count(usage.output_tokens);
  if (known === undefined || outputTokens === 0) return undefined;
  const [format, endpoint] = known;
  let parsed: ReturnType<ProviderFormat["parseCall"]>;
  try {
    parsed = format.parseCall(endpoint, Buffer.from(JSON.stringify(pair.request_body)));
  } catch {
    // Recordings whose body is gone or no call of a model: nothing was held for them.
    return undefined;
  }
  const anthropicCache = count(usage.cache_creation_input_tokens) + count(usage.cache_read_input_tokens);
  return {
    atSeconds: index / CALLS_PER_SECOND,
    group: { provider: pair.provider, model: parsed.model },
    inputTokensEstimated: parsed.estimate.inputTokens,
    inputTokens: count(usage.prompt_tokens) + count(usage.input_tokens) + anthropicCache,
    outputTokens,
    outputTokensMax: parsed.estimate.outputTokensMax,
  };
}

/** Recorded calls with the provider's own usage and the input estimate of this version; none where the data is not there. */
export function recordedUsages(): readonly RecordedCall[] {
  if (!existsSync(FILE)) return [];
  return readFileSync(FILE, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line, i) => recordedCall(JSON.parse(line) as Pair, i))
    .filter((call) => call !== undefined);
}
