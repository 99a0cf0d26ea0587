import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { calcPrice, type Provider, waitForUpdate } from "@pydantic/genai-prices";
import { costOf } from "../../src/core/price/cost.ts";
import { rateOfUsd } from "../../src/core/price/model-price.ts";
import { entryAt } from "../../src/core/price/price-history.ts";
import { catalogueFileText, checkProviders, parseCatalogueFile } from "../../src/prices/catalogue-file.ts";
import { GenaiPriceCatalogue, packageVersion } from "../../src/prices/genai-price-catalogue.ts";
import { LoudPrices } from "../../src/prices/loud-prices.ts";
import { RecordingTelemetry } from "../support/recording-telemetry.ts";

const catalogueOf = (providers: Readonly<Record<string, string>> = {}, file?: string) => {
  const telemetry = new RecordingTelemetry();
  const catalogue = new GenaiPriceCatalogue({
    providers: Object.entries(providers).map(([name, baseUrl]) => ({ name, baseUrl })),
    file,
    telemetry,
  });
  return { catalogue, telemetry };
};

const inputRate = (catalogue: GenaiPriceCatalogue, provider: string, model: string, date = "2026-11-01") =>
  entryAt(catalogue.historyOf(provider, model) ?? [], Date.parse(date))?.price.rates.input;

/** Usages as Sluice and as the catalogue write them, with nothing between two kinds that only one of them prices apart. */
const USAGES = [
  { inputTokens: 1_234, outputTokens: 567 },
  { inputTokens: 10_000, cachedInputTokens: 7_001, cacheWriteInputTokens: 2_000, outputTokens: 3 },
  { inputTokens: 300_001, cachedInputTokens: 17, outputTokens: 12_345 },
  {
    inputTokens: 200_000,
    cacheWriteInputTokens: 501,
    cacheWriteLongInputTokens: 500,
    outputTokens: 1,
    webSearches: 3,
  },
  { inputTokens: 271_999, outputTokens: 4_000, reasoningTokens: 3_999 },
  { inputTokens: 900, audioInputTokens: 400, outputTokens: 100, audioOutputTokens: 60 },
] as const;
const DATES = [
  "2024-01-01T12:00:00Z",
  "2026-03-12T23:59:59.999Z",
  "2026-03-13T00:00:00Z",
  "2026-11-24T02:30:00Z",
];

test("GenaiPriceCatalogue prices every call of every model as the catalogue itself does, at any date, to the nano-dollar (E6)", async () => {
  const { catalogue } = catalogueOf();
  let compared = 0;
  for (const provider of (await waitForUpdate()) ?? []) {
    for (const { id } of provider.models) {
      const history = catalogue.historyOf(provider.id, id);
      if (history === undefined) continue;
      for (const date of DATES.map((text) => new Date(text))) {
        const price = entryAt(history, date.getTime());
        assert.ok(price !== undefined);
        for (const usage of USAGES) {
          const used = {
            input_tokens: usage.inputTokens,
            output_tokens: usage.outputTokens,
            cache_read_tokens: "cachedInputTokens" in usage ? usage.cachedInputTokens : 0,
            cache_write_tokens: "cacheWriteInputTokens" in usage ? usage.cacheWriteInputTokens : 0,
            cache_write_1h_tokens: "cacheWriteLongInputTokens" in usage ? usage.cacheWriteLongInputTokens : 0,
            web_searches: "webSearches" in usage ? usage.webSearches : 0,
            output_reasoning_tokens: "reasoningTokens" in usage ? usage.reasoningTokens : 0,
            input_audio_tokens: "audioInputTokens" in usage ? usage.audioInputTokens : 0,
            output_audio_tokens: "audioOutputTokens" in usage ? usage.audioOutputTokens : 0,
          };
          const theirs =
            (calcPrice(used, id, { providerId: provider.id, timestamp: date })?.total_price ?? -1) * 1e9;
          const ours = costOf(price.price, usage);
          // Theirs is a sum of doubles; ours is rounded up at the end.
          const slack = 1e-9 * theirs + 1e-3;
          assert.ok(
            ours >= theirs - slack && ours < theirs + 1 + slack,
            `${provider.id}/${id} ${JSON.stringify(usage)} at ${date.toISOString()}: ${ours}, not ${theirs}`,
          );
          compared += 1;
        }
      }
    }
  }
  assert.ok(compared > 20_000, `${compared}`);
});

test("GenaiPriceCatalogue knows what is printed on OpenAI's and Anthropic's lists", () => {
  const { catalogue } = catalogueOf({ openai: "http://127.0.0.1:1" });
  assert.equal(inputRate(catalogue, "openai", "gpt-4o-mini"), rateOfUsd(0.15));
  assert.equal(inputRate(catalogue, "openai", "gpt-4o-2024-08-06"), rateOfUsd(2.5));
  assert.equal(inputRate(catalogue, "anthropic", "claude-3-5-haiku-20241022"), rateOfUsd(0.8));
  const o3 = (date: string) => inputRate(catalogue, "openai", "o3", date);
  assert.deepEqual([o3("2025-06-09"), o3("2025-06-10")], [rateOfUsd(10), rateOfUsd(2)]);
  assert.equal(catalogue.historyOf("openai", "whisper-1"), undefined);
  assert.equal(catalogue.historyOf("openai", "nobody-knows-this"), undefined);
});

test("GenaiPriceCatalogue takes a provider by its URL, then by its name, and else has no prices of it", () => {
  const { catalogue } = catalogueOf({
    fast: "https://api.groq.com/openai",
    anthropic: "http://127.0.0.1:1",
    openai: "https://api.x.ai",
    local: "http://127.0.0.1:8000",
  });
  assert.notEqual(catalogue.historyOf("fast", "llama-3.3-70b-versatile"), undefined);
  assert.notEqual(catalogue.historyOf("anthropic", "claude-3-haiku-20240307"), undefined);
  assert.equal(catalogue.historyOf("openai", "gpt-4o"), undefined);
  assert.equal(catalogue.historyOf("local", "gpt-4o"), undefined);
  // Without a provider the model has to speak for itself.
  assert.notEqual(catalogue.historyOf("", "gpt-4o"), undefined);
});

test("LoudPrices counts every unknown price and logs each model once, however many there are (E6, X5)", () => {
  const telemetry = new RecordingTelemetry();
  const loud = new LoudPrices({ quote: () => ({ kind: "unknown" }) }, telemetry);
  for (let i = 0; i < 3; i++) loud.quote("openai/main", "x", 0);
  assert.equal(telemetry.counted("price-unknown"), 3);
  assert.equal(telemetry.lines.length, 1);
  for (let i = 0; i < 2_000; i++) loud.quote("openai/main", `x${i}`, 0);
  assert.equal(telemetry.lines.length, 1_000);
});

describe("a downloaded catalogue", () => {
  let directory: string;
  let providers: readonly Provider[];
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "sluice-prices-"));
    providers = (await waitForUpdate()) ?? [];
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const changed = (change: (provider: Record<string, unknown>) => void): unknown => {
    const copy = structuredClone(providers) as unknown as Record<string, unknown>[];
    change(copy.find(({ id }) => id === "openai") ?? {});
    return copy;
  };
  const firstModel = (provider: Record<string, unknown>) => (provider.models as Record<string, unknown>[])[0];

  test("is checked: the package's own passes, what is broken anywhere does not, and says where", () => {
    assert.equal(checkProviders(providers), providers);
    const broken: readonly (readonly [unknown, RegExp])[] = [
      [{}, /no list/],
      [[], /openai is missing/],
      [providers.filter(({ id }) => id === "openai" || id === "arcee"), /anthropic is missing/],
      [
        changed((openai) => Object.assign(firstModel(openai), { prices: { input_mtok: -1 } })),
        /openai\/.*-1 is no price/,
      ],
      [
        changed((openai) => Object.assign(firstModel(openai), { prices: { input_mtok: 1e9 } })),
        /is no price/,
      ],
      [changed((openai) => Object.assign(firstModel(openai), { prices: null })), /has no prices/],
      [
        changed((openai) => Object.assign(firstModel(openai), { match: { regex: "(" } })),
        /Invalid regular expression/,
      ],
      [
        changed((openai) => Object.assign(firstModel(openai), { match: { regex: "a".repeat(301) } })),
        /openai\/.*a pattern that may take too long: aaa/,
      ],
      [
        changed((openai) => Object.assign(firstModel(openai), { match: { or: [{ regex: "^(a+)+$" }] } })),
        /openai\/.*a pattern that may take too long: \^\(a\+\)\+\$/,
      ],
      [changed((openai) => Object.assign(openai, { api_pattern: "(x*)*y" })), /openai: a pattern that may/],
    ];
    for (const [data, message] of broken) assert.throws(() => checkProviders(data), message);
  });

  test("is used when it belongs to the installed version, and refused with a reason when not (E6)", () => {
    const newer = changed((openai) => {
      const models = openai.models as { id: string; prices: unknown }[];
      Object.assign(models.find(({ id }) => id === "gpt-4o-mini") ?? {}, {
        prices: [
          { prices: { input_mtok: 9, output_mtok: 1 } },
          {
            prices: { input_mtok: 8, output_mtok: 1 },
            constraint: { type: "start_date", start_date: "2027-01-01" },
          },
        ],
      });
    }) as readonly Provider[];
    const file = join(directory, "prices.json");
    const text = (version: string) => catalogueFileText(newer, "test", version, new Date(0));
    writeFileSync(file, text("0.0.1"));
    const old = catalogueOf({}, file);
    assert.equal(inputRate(old.catalogue, "openai", "gpt-4o-mini"), rateOfUsd(0.15));
    assert.match(old.telemetry.lines.join("\n"), /not used, but the built-in ones: .*0\.0\.1/);
    writeFileSync(file, "{");
    assert.equal(inputRate(catalogueOf({}, file).catalogue, "openai", "gpt-4o-mini"), rateOfUsd(0.15));
    assert.equal(parseCatalogueFile("[]", packageVersion()).kind, "invalid");
    writeFileSync(file, text(packageVersion()));
    const { catalogue } = catalogueOf({}, file);
    assert.equal(inputRate(catalogue, "openai", "gpt-4o-mini"), rateOfUsd(9));
    assert.equal(inputRate(catalogue, "openai", "gpt-4o-mini", "2027-01-01"), rateOfUsd(8));
    // The package keeps for the whole process what it was given: the log says so.
    writeFileSync(file, "{");
    const broken = catalogueOf({}, file);
    assert.equal(inputRate(broken.catalogue, "openai", "gpt-4o-mini"), rateOfUsd(9));
    assert.match(broken.telemetry.lines.join("\n"), /not used, but those read before/);
  });
});
