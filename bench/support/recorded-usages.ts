import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { InputCalibration } from "../../src/core/estimate/input-calibration.ts";
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

export interface RecordedUsage extends RecordedCall {
  readonly inputShape: string | undefined;
}

function recordedCall(pair: Pair, index: number): RecordedUsage | undefined {
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
    inputShape: parsed.estimate.inputShape,
    inputTokens: count(usage.prompt_tokens) + count(usage.input_tokens) + anthropicCache,
    outputTokens,
    outputTokensMax: parsed.estimate.outputTokensMax,
  };
}

/** Recorded calls with the provider's own usage and the raw input estimate of this version; none where the data is not there. */
export function recordedUsages(): readonly RecordedUsage[] {
  if (!existsSync(FILE)) return [];
  return readFileSync(FILE, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line, i) => recordedCall(JSON.parse(line) as Pair, i))
    .filter((call) => call !== undefined);
}

/** The same calls with their input estimates calibrated by the calls before them. */
export function withCalibratedInput(usages: readonly RecordedUsage[]): readonly RecordedCall[] {
  const calibration = new InputCalibration();
  return usages.map((call) => {
    const group = { provider: call.group.provider, model: call.group.model, shape: call.inputShape };
    const inputTokensEstimated = Math.round(calibration.correct(group, call.inputTokensEstimated));
    calibration.learn(group, call.inputTokensEstimated, call.inputTokens);
    return { ...call, inputTokensEstimated };
  });
}
