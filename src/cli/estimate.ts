import { readFileSync } from "node:fs";
import { PROVIDER_FORMATS } from "../compose.ts";
import { OUTPUT_TOKENS_DEFAULT } from "../config/file-schema.ts";
import { OperationalError } from "../core/operational-error.ts";
import { modelName } from "../core/policy/call-target.ts";
import { chargesFor } from "../core/policy/charges.ts";
import { CompiledPolicy } from "../core/policy/compiled-policy.ts";
import type { Endpoint } from "../core/policy/endpoint.ts";
import { costOf } from "../core/price/cost.ts";
import { NO_PRICES, PriceBook } from "../core/price/price-book.ts";
import { formatUsd } from "../core/price/usd.ts";
import { silentTelemetry } from "../ports/telemetry.ts";
import { GenaiPriceCatalogue } from "../prices/genai-price-catalogue.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";
import { say } from "./say.ts";
import { settingsOrExit } from "./settings-or-exit.ts";

export interface EstimateFlags {
  readonly config?: string;
  readonly plan?: string;
  readonly endpoint?: string;
  readonly json?: boolean;
}

/** Endpoints whose bodies can be estimated. */
type EstimatedEndpoint = "chat_completions" | "responses" | "embeddings" | "completions" | "messages";

/** By the members that only one endpoint's bodies have. What is no JSON at all is found by the parser. */
function endpointOf(body: Buffer): EstimatedEndpoint {
  const text = body.toString("utf8");
  const model = /"model"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? "";
  if (/"messages"\s*:/.test(text)) return model.startsWith("claude") ? "messages" : "chat_completions";
  if (/"prompt"\s*:/.test(text)) return "completions";
  return model.includes("embedding") ? "embeddings" : "responses";
}

/** A file that is not there is an argument that is wrong. */
function bodyFrom(file: string): Buffer {
  try {
    return readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    fail(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, EXIT_CODE.invalid);
  }
}

interface Hold {
  readonly limit: string;
  readonly meter: string;
  /** In the unit of the meter; nano-USD for `cost`. */
  readonly hold: number;
  readonly of: number;
}

const amount = (meter: string, value: number) =>
  meter === "cost" ? `${formatUsd(value)} USD` : value.toLocaleString("en-US");

/** What the plan's limits would hold for the call. */
function holdsOf(
  policy: CompiledPolicy,
  plan: string,
  call: { readonly endpoint: Endpoint; readonly model: string; readonly account: string | undefined },
  size: { readonly inputTokens: number; readonly outputTokensMax: number | undefined },
): readonly Hold[] {
  const { subjects, rules } = chargesFor(policy, { user: "estimate", plan }, call, size, Date.now());
  return subjects
    .flatMap(({ charges }) => charges)
    .map(({ hold }, i) => ({ limit: rules[i].name, meter: rules[i].meter, hold, of: rules[i].limit }));
}

/** `sluice estimate FILE`: what a request body is estimated to use, what it costs, and what a plan's limits would hold for it. Returns the exit code. */
export async function estimate(file: string, flags: EstimateFlags): Promise<number> {
  const settings = await settingsOrExit(flags.config);
  if (flags.plan !== undefined && settings === undefined) {
    fail("--plan: the plans are in the configuration, so --config is needed, too", EXIT_CODE.invalid);
  }
  if (flags.plan !== undefined && settings?.policy.plans.has(flags.plan) === false) {
    const known = [...settings.policy.plans.keys()].join(", ");
    fail(
      `--plan: there is no plan "${flags.plan}" in ${flags.config}; there are: ${known}`,
      EXIT_CODE.invalid,
    );
  }
  const body = bodyFrom(file);
  const endpoint = (flags.endpoint as EstimatedEndpoint | undefined) ?? endpointOf(body);
  const format = PROVIDER_FORMATS[endpoint === "messages" ? "anthropic" : "openai"];
  try {
    const call = format.parseCall(endpoint, body);
    const { inputTokens, outputTokensMax } = call.estimate;
    const providers = settings === undefined ? [] : [...settings.providers.values()];
    const account =
      settings === undefined
        ? format.name
        : providers.find((provider) => provider.format === format.name)?.accounts[0]?.id;
    const catalogue = new GenaiPriceCatalogue({
      providers,
      file: settings?.pricesFile,
      telemetry: silentTelemetry,
    });
    const prices = new PriceBook(settings?.prices ?? NO_PRICES, (provider, model) =>
      catalogue.historyOf(provider, model),
    );
    const quote = prices.quote(account, modelName(call.model), Date.now());
    const outputTokens = outputTokensMax ?? settings?.policy.outputTokensDefault ?? OUTPUT_TOKENS_DEFAULT;
    const costNanoUsd =
      quote.kind === "unknown"
        ? undefined
        : costOf(quote.price, {
            inputTokens,
            cachedInputTokens: 0,
            cacheWriteInputTokens: 0,
            outputTokens,
            reasoningTokens: 0,
          });
    const holds =
      settings === undefined || flags.plan === undefined
        ? []
        : holdsOf(
            new CompiledPolicy(settings.policy, prices),
            flags.plan,
            { endpoint, model: modelName(call.model), account },
            call.estimate,
          );
    const result = {
      endpoint,
      model: call.model,
      inputTokens,
      outputTokensMax,
      outputTokens,
      costNanoUsd,
      holds,
    };
    if (flags.json === true) process.stdout.write(`${asJson(result)}\n`);
    else say(asText(result, flags.plan));
    return EXIT_CODE.ok;
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error;
    fail(`${file}: ${error.message}`, EXIT_CODE.failed);
  }
}

interface Result {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly inputTokens: number;
  readonly outputTokensMax: number | undefined;
  readonly outputTokens: number;
  readonly costNanoUsd: number | undefined;
  readonly holds: readonly Hold[];
}

function asJson({ endpoint, model, inputTokens, outputTokensMax, costNanoUsd, holds }: Result): string {
  return JSON.stringify({
    endpoint,
    model,
    input_tokens: inputTokens,
    output_tokens_max: outputTokensMax ?? null,
    cost_nano_usd: costNanoUsd ?? null,
    holds,
  });
}

function asText(
  { endpoint, model, inputTokens, outputTokensMax, outputTokens, costNanoUsd, holds }: Result,
  plan: string | undefined,
): string {
  const output = outputTokens.toLocaleString("en-US");
  const lines = [
    `${model}, ${endpoint}`,
    `  input   ${inputTokens.toLocaleString("en-US")} model tokens, before what a running gateway has learned`,
    outputTokensMax === undefined
      ? `  output  ${output} model tokens by default: the call names no maximum`
      : `  output  at most ${output} model tokens`,
    costNanoUsd === undefined
      ? "  cost    nobody knows a price of this model"
      : `  cost    ${formatUsd(costNanoUsd)} USD with that output`,
    ...(plan === undefined ? [] : [`  a call of the plan "${plan}" holds`]),
    ...holds.map(
      ({ limit, meter, hold, of }) => `    ${limit}: ${amount(meter, hold)} of ${amount(meter, of)}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
