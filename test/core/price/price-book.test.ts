import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { completeRates, flatPrice } from "../../../src/core/price/model-price.ts";
import {
  NO_PRICES,
  type OwnPrice,
  PriceBook,
  type PriceHistory,
} from "../../../src/core/price/price-book.ts";
import { type Dated, entryAt } from "../../../src/core/price/price-history.ts";
import { runs } from "../../support/property.ts";

const DAY_MS = 86_400_000;
const price = (input: number) => flatPrice(completeRates({ input, output: 0 }));
const own = (
  model: string,
  input: number,
  fromMs = Number.NEGATIVE_INFINITY,
  provider?: string,
): OwnPrice => ({
  model,
  provider,
  fromMs,
  price: price(input),
});
const CATALOGUE: Readonly<Record<string, PriceHistory>> = {
  "openai gpt-4o": [
    { fromMs: Number.NEGATIVE_INFINITY, price: price(5) },
    { fromMs: 1_000, price: price(4) },
  ],
};
const lookup = (provider: string, model: string) => CATALOGUE[`${provider} ${model}`];

/** Rate of the input and share paid, or what kind of quote it is. */
function inputRate(book: PriceBook, account: string | undefined, model: string, nowMs: number) {
  const quote = book.quote(account, model, nowMs);
  return quote.kind === "listed" ? quote.price.rates.input : quote.kind;
}

test("PriceBook changes a price at the moment that it says, and not before (E6)", () => {
  const book = new PriceBook(NO_PRICES, lookup);
  const at = (nowMs: number) => inputRate(book, "openai/main", "gpt-4o", nowMs);
  assert.deepEqual([0, 999, 1_000, 5_000].map(at), [5, 5, 4, 4]);
});

test("PriceBook takes own prices first, in the order of the file, from their date on (E6)", () => {
  const settings = {
    ...NO_PRICES,
    own: [
      own("gpt-4o", 7, 4_000),
      own("gpt-*", 2, 3_000, "azure"),
      own("gpt-*", 1, 500),
      own("gpt-4o", 3, 2_000),
    ],
  };
  const book = new PriceBook(settings, lookup);
  const at = (nowMs: number, account = "openai/main", model = "gpt-4o") =>
    inputRate(book, account, model, nowMs);
  assert.deepEqual(
    [0, 600, 2_000, 3_000, 4_000].map((nowMs) => at(nowMs)),
    [5, 1, 3, 3, 7],
  );
  assert.deepEqual(
    [0, 600, 3_000].map((nowMs) => at(nowMs, "azure/main", "gpt-5")),
    ["unknown", 1, 2],
  );
  assert.equal(at(9_000, "azure/main", "llama"), "unknown");
});

test("PriceBook takes the account's discount off the catalogue's prices and not off own ones", () => {
  const settings = { ...NO_PRICES, own: [own("mine", 3)], paidBasisPoints: new Map([["openai/a", 8_000]]) };
  const book = new PriceBook(settings, lookup);
  const paid = (account: string, model: string) => {
    const quote = book.quote(account, model, 0);
    return quote.kind === "unknown" ? quote.kind : quote.price.paidBasisPoints;
  };
  assert.deepEqual(
    [paid("openai/a", "gpt-4o"), paid("openai/b", "gpt-4o"), paid("openai/a", "mine")],
    [8_000, 10_000, 10_000],
  );
});

test("PriceBook assumes the stated price for models that nobody knows, and says so (E6)", () => {
  const book = new PriceBook({ ...NO_PRICES, unknown: price(9) }, lookup);
  assert.equal(book.quote("openai/main", "nobody", 0).kind, "assumed");
  assert.equal(book.quote(undefined, "", 0).kind, "assumed");
  assert.equal(inputRate(book, "openai/main", "gpt-4o", 0), 5);
  assert.equal(new PriceBook(NO_PRICES, lookup).quote("openai/main", "nobody", 0).kind, "unknown");
});

test("PriceBook asks the catalogue once for a model, never for names that no model has, and forgets what is too much (X3)", () => {
  let asked = 0;
  const book = new PriceBook(NO_PRICES, (_provider, model) => {
    asked += 1;
    assert.ok(model.length <= 256);
    return undefined;
  });
  for (let i = 0; i < 3; i++) book.quote("openai/main", "gpt-4o", i);
  assert.equal(asked, 1);
  book.quote("openai/main", "x".repeat(100_000), 0);
  assert.equal(asked, 1);
  for (let i = 0; i < 5_000; i++) book.quote("openai/main", `model-${i}`, 0);
  book.quote("openai/main", "gpt-4o", 0);
  assert.equal(asked, 5_002);
});

test("entryAt gives the last entry of a list that is in force, by date and time of day (E6)", () => {
  const night = { startMs: 22 * 3_600_000, endMs: 6 * 3_600_000 };
  const history = [
    { name: "always", fromMs: Number.NEGATIVE_INFINITY },
    { name: "later", fromMs: 10 * DAY_MS },
    { name: "night", fromMs: Number.NEGATIVE_INFINITY, daily: night },
  ];
  const at = (hours: number) => entryAt(history, hours * 3_600_000)?.name;
  assert.deepEqual([-3, 0, 5.99, 6, 21.99, 22, 240 + 12, 240 + 23].map(at), [
    "always",
    "night",
    "night",
    "always",
    "always",
    "night",
    "later",
    "night",
  ]);
});

test("entryAt is the last in force for any history, moment by moment", () => {
  const anyTime = fc.integer({ min: 0, max: 24 }).map((hours) => hours * 3_600_000);
  const anyEntry: fc.Arbitrary<Dated> = fc.record({
    fromMs: fc.constantFrom(Number.NEGATIVE_INFINITY, 0, DAY_MS, 2 * DAY_MS),
    daily: fc.option(fc.record({ startMs: anyTime, endMs: anyTime }), { nil: undefined }),
  });
  const property = fc.property(
    fc.array(anyEntry, { maxLength: 4 }),
    fc.integer({ min: 0, max: 3 * 24 }),
    (history, hours) => {
      const nowMs = hours * 3_600_000;
      // Hour by hour of a day, as a clock would be read.
      const isIn = ({ fromMs, daily }: Dated) => {
        if (nowMs < fromMs) return false;
        if (daily === undefined) return true;
        const start = daily.startMs / 3_600_000;
        const hoursLong = (daily.endMs - daily.startMs) / 3_600_000;
        const length = hoursLong < 0 ? hoursLong + 24 : hoursLong;
        return Array.from({ length }, (_, i) => (start + i) % 24).includes(hours % 24);
      };
      assert.equal(entryAt(history, nowMs), history.filter(isIn).at(-1));
    },
  );
  fc.assert(property, runs(1_000));
});
