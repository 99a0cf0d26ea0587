import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigurationError } from "../../src/config/problem.ts";
import { settingsFromText } from "../../src/config/settings-from-text.ts";
import { completeRates, flatPrice } from "../../src/core/price/model-price.ts";
import { PriceBook } from "../../src/core/price/price-book.ts";

const ORIGIN = { name: "sluice.yaml", directory: "/", storeDefault: "memory:" };
const load = (text: string) =>
  settingsFromText(`identity: { keys: [{ key: key-of-alice, user: alice }] }\n${text}`, ORIGIN, {});

test("settingsFromText reads what ways of serving cost: of a provider for the catalogue's prices, of an own price for that (E6)", () => {
  const { prices } = load(`
providers:
  openai: { service_tiers: { flex: 0.5, priority: 1.8182 } }
  anthropic: {}
prices:
  - { model: own, input: 1, output: 2, service_tiers: { priority: 3 } }
  - { model: plain, input: 1, output: 2 }`);
  const listed = flatPrice(completeRates({ input: 1e9, output: 2e9 }));
  const book = new PriceBook(prices, (_, model) =>
    model === "listed" ? [{ fromMs: Number.NEGATIVE_INFINITY, price: listed }] : undefined,
  );
  const tiers = (account: string, model: string) => {
    const quote = book.quote(account, model, 0);
    return quote.kind === "unknown" ? quote.kind : [...(quote.price.serviceTiers ?? [])];
  };
  const ofOpenai = [
    ["flex", 5_000],
    ["priority", 18_182],
  ];
  assert.deepEqual(tiers("openai/main", "listed"), ofOpenai);
  assert.deepEqual(tiers("anthropic/main", "listed"), []);
  assert.deepEqual(tiers("openai/main", "own"), [["priority", 30_000]]);
  assert.deepEqual(tiers("openai/main", "plain"), []);
});

test("settingsFromText explains what is wrong with ways of serving", () => {
  const cases: readonly (readonly [text: string, says: RegExp])[] = [
    ["providers: { openai: { service_tiers: { flex: -1 } } }", /flex: found -1; allowed: how many times/],
    ["providers: { openai: { service_tiers: { flex: 101 } } }", /flex: found 101; allowed: how many times/],
    ["providers: { openai: { service_tiers: [flex] } }", /service_tiers: .*such as \{ flex: 0\.5/],
    ["providers: { openai: { service_tiers: { default: 2 } } }", /served as default has the usual price/],
    ["providers: { openai: { service_tiers: { Flex: 2 } } }", /lower-case letters/],
    ["prices: [{ model: m, input: 1, output: 1, service_tiers: { standard: 2 } }]", /has the usual price/],
  ];
  for (const [text, says] of cases) {
    assert.throws(
      () => load(text),
      (error) => {
        assert.ok(error instanceof ConfigurationError, String(error));
        assert.match(error.message, says);
        return true;
      },
    );
  }
});
