import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BilledUsage, COST_NANO_USD_MAX, costOf, outputRoomFor } from "../../../src/core/price/cost.ts";
import {
  completeRates,
  flatPrice,
  type ModelPrice,
  RATE_MAX,
  type Rates,
  rateOfUsd,
  worstPrice,
} from "../../../src/core/price/model-price.ts";
import { formatUsd, nanoOfUsd, usdOfNano } from "../../../src/core/price/usd.ts";
import { runs } from "../../support/property.ts";

const usd = (part: Partial<Record<keyof Rates, number>>): Rates => {
  const rates = Object.fromEntries(Object.entries(part).map(([kind, price]) => [kind, rateOfUsd(price)]));
  return completeRates({ input: 0, output: 0, ...rates });
};

/** Sonnet's price list: $3, $0.30 read, $3.75 and $6 written, $15; twice that above 200,000 tokens of input. */
const SONNET: ModelPrice = {
  rates: usd({
    input: 3,
    cachedInput: 0.3,
    cacheWrite: 3.75,
    cacheWriteLong: 6,
    output: 15,
    webSearch: 10_000,
  }),
  tiers: [
    {
      aboveInputTokens: 200_000,
      rates: usd({ input: 6, cachedInput: 0.6, cacheWrite: 7.5, cacheWriteLong: 12, output: 22.5 }),
    },
  ],
  paidBasisPoints: 10_000,
};

test("costOf is what the price list says, by hand, for each kind of token (E6)", () => {
  const cases: readonly (readonly [BilledUsage, number])[] = [
    [{ inputTokens: 1_000, outputTokens: 100 }, 3_000_000 + 1_500_000],
    [
      { inputTokens: 1_000, cachedInputTokens: 600, cacheWriteInputTokens: 300, outputTokens: 0 },
      100 * 3_000 + 600 * 300 + 300 * 3_750,
    ],
    [
      {
        inputTokens: 1_000,
        cacheWriteInputTokens: 300,
        cacheWriteLongInputTokens: 100,
        outputTokens: 1,
        webSearches: 2,
      },
      700 * 3_000 + 200 * 3_750 + 100 * 6_000 + 15_000 + 20_000_000,
    ],
    // The whole call has the price of its tier, and only beyond its start.
    [{ inputTokens: 200_000, outputTokens: 10 }, 600_000_000 + 150_000],
    [
      { inputTokens: 200_001, cachedInputTokens: 200_000, outputTokens: 10 },
      6_000 + 200_000 * 600 + 10 * 22_500,
    ],
    [{ inputTokens: 0, outputTokens: 0 }, 0],
  ];
  for (const [usage, cost] of cases) assert.equal(costOf(SONNET, usage), cost, JSON.stringify(usage));
  assert.equal(
    costOf({ ...SONNET, paidBasisPoints: 8_500 }, { inputTokens: 1_000, outputTokens: 100 }),
    3_825_000,
  );
});

test("costOf prices audio, reasoning and the call itself apart where the price list does (E6)", () => {
  const price = flatPrice(
    usd({ input: 2.5, audioInput: 32, output: 10, audioOutput: 64, reasoning: 3, request: 12_000 }),
  );
  const usage = {
    inputTokens: 100,
    audioInputTokens: 40,
    outputTokens: 50,
    audioOutputTokens: 20,
    reasoningTokens: 10,
  };
  assert.equal(
    costOf(price, usage),
    60 * 2_500 + 40 * 32_000 + 20 * 10_000 + 20 * 64_000 + 10 * 3_000 + 12_000_000,
  );
});

test("costOf rounds up once: a thousand parts of a nano-dollar are one", () => {
  const price = flatPrice(completeRates({ input: 1, output: 1, cachedInput: 1 }));
  assert.equal(costOf(price, { inputTokens: 400_000, cachedInputTokens: 200_000, outputTokens: 600_000 }), 1);
  assert.equal(costOf(price, { inputTokens: 400_001, cachedInputTokens: 200_000, outputTokens: 600_000 }), 2);
});

test("costOf takes what no provider should report: parts beyond their whole, fractions, nonsense", () => {
  const plain = costOf(SONNET, { inputTokens: 10, outputTokens: 10 });
  assert.equal(costOf(SONNET, { inputTokens: 9.5, outputTokens: 10, webSearches: Number.NaN }), plain);
  assert.equal(costOf(SONNET, { inputTokens: -1, outputTokens: Number.NaN }), 0);
  assert.equal(costOf(SONNET, { inputTokens: 10, cachedInputTokens: 99, outputTokens: 0 }), 3_000);
  const dear = flatPrice(completeRates({ input: RATE_MAX, output: RATE_MAX }));
  assert.equal(costOf(dear, { inputTokens: 1e9, outputTokens: 1e9 }), COST_NANO_USD_MAX);
});

const anyRate = fc.oneof(
  fc.integer({ min: 0, max: 9 }),
  fc.integer({ min: 0, max: 3_000_000 }).map((n) => n * 100_000),
  fc.integer({ min: 0, max: 2 ** 40 }),
);
const anyRates: fc.Arbitrary<Rates> = fc.record({
  input: anyRate,
  cachedInput: anyRate,
  cacheWrite: anyRate,
  cacheWriteLong: anyRate,
  audioInput: anyRate,
  cachedAudioInput: anyRate,
  output: anyRate,
  reasoning: anyRate,
  audioOutput: anyRate,
  request: anyRate,
  webSearch: anyRate,
});
const anyCount = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  fc.integer({ min: 0, max: 300_000 }),
  fc.integer({ min: 0, max: 100_000_000 }),
);
const anyPaid = fc.oneof(fc.constant(10_000), fc.integer({ min: 0, max: 10_000 }));

/** The kinds of a call, none overlapping: what the usage of a provider is made of. */
const anyKinds = fc.record({
  fresh: anyCount,
  cached: anyCount,
  written: anyCount,
  writtenLong: anyCount,
  audio: anyCount,
  cachedAudio: anyCount,
  text: anyCount,
  reasoning: anyCount,
  audioOutput: anyCount,
  searches: fc.integer({ min: 0, max: 5 }),
});
type Kinds = typeof anyKinds extends fc.Arbitrary<infer T> ? T : never;

const usageOf = (kinds: Kinds): BilledUsage => ({
  inputTokens:
    kinds.fresh + kinds.cached + kinds.written + kinds.writtenLong + kinds.audio + kinds.cachedAudio,
  cachedInputTokens: kinds.cached + kinds.cachedAudio,
  cacheWriteInputTokens: kinds.written + kinds.writtenLong,
  cacheWriteLongInputTokens: kinds.writtenLong,
  audioInputTokens: kinds.audio + kinds.cachedAudio,
  cachedAudioInputTokens: kinds.cachedAudio,
  outputTokens: kinds.text + kinds.reasoning + kinds.audioOutput,
  reasoningTokens: kinds.reasoning,
  audioOutputTokens: kinds.audioOutput,
  webSearches: kinds.searches,
});

/** In fractions of big integers, kind by kind, rounded up at the end. */
function oracle(rates: Rates, paid: number, kinds: Kinds): bigint {
  const terms: readonly (readonly [number, number])[] = [
    [kinds.fresh, rates.input],
    [kinds.cached, rates.cachedInput],
    [kinds.written, rates.cacheWrite],
    [kinds.writtenLong, rates.cacheWriteLong],
    [kinds.audio, rates.audioInput],
    [kinds.cachedAudio, rates.cachedAudioInput],
    [kinds.text, rates.output],
    [kinds.reasoning, rates.reasoning],
    [kinds.audioOutput, rates.audioOutput],
    [1, rates.request],
    [kinds.searches, rates.webSearch],
  ];
  const total = terms.reduce((sum, [amount, rate]) => sum + BigInt(amount) * BigInt(rate), 0n) * BigInt(paid);
  const whole = total / 10_000_000_000n;
  const cost = whole * 10_000_000_000n === total ? whole : whole + 1n;
  return cost > BigInt(COST_NANO_USD_MAX) ? BigInt(COST_NANO_USD_MAX) : cost;
}

test("costOf is exact to the nano-dollar whatever is used of whatever price, tier and discount (E6)", () => {
  const property = fc.property(
    anyRates,
    fc.array(anyRates, { maxLength: 3 }),
    fc.array(anyCount, { minLength: 3, maxLength: 3 }),
    anyPaid,
    anyKinds,
    (rates, tierRates, starts, paidBasisPoints, kinds) => {
      const sorted = [...starts].sort((a, b) => a - b);
      const tiers = tierRates.map((one, i) => ({ aboveInputTokens: sorted[i], rates: one }));
      const usage = usageOf(kinds);
      const inForce = tiers.findLast(({ aboveInputTokens }) => usage.inputTokens > aboveInputTokens);
      const cost = costOf({ rates, tiers, paidBasisPoints }, usage);
      assert.equal(BigInt(cost), oracle(inForce?.rates ?? rates, paidBasisPoints, kinds));
    },
  );
  fc.assert(property, runs(3_000));
});

test("costOf is exact where the quotient of doubles is not: one part over a whole nano-dollar, near 2^53 (E6)", () => {
  const property = fc.property(
    fc.integer({ min: 2 ** 32, max: 9_007_199_253 }),
    fc.integer({ min: -2, max: 2 }),
    (whole, off) => {
      const rate = whole * 1_000_000 + off;
      const cost = costOf(flatPrice(completeRates({ input: rate, output: 0 })), {
        inputTokens: 1,
        outputTokens: 0,
      });
      assert.equal(cost, off > 0 ? whole + 1 : whole);
    },
  );
  fc.assert(property, runs(500));
});

test("outputRoomFor is the most output that the amount pays for beside the input (E5)", () => {
  const property = fc.property(
    anyRates,
    anyPaid,
    fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 1_000_000_000_000 })),
    fc.integer({ min: 0, max: 100_000 }),
    (rates, paidBasisPoints, capacity, inputTokens) => {
      const price = { rates, tiers: [], paidBasisPoints };
      const room = outputRoomFor(price, capacity, inputTokens);
      const cost = (outputTokens: number) => costOf(price, { inputTokens, outputTokens });
      if (room === Number.POSITIVE_INFINITY) {
        assert.ok(rates.output * paidBasisPoints === 0);
        return;
      }
      assert.ok(Number.isSafeInteger(room) && room >= 0);
      if (cost(0) <= capacity) assert.ok(cost(room) <= capacity);
      if (room < 1_000_000_000 && cost(0) <= capacity) assert.ok(cost(room + 1) > capacity);
    },
  );
  fc.assert(property, runs(2_000));
});

test("outputRoomFor leaves no room beside an input that takes all of the amount, or more", () => {
  const room = (capacity: number) => outputRoomFor(SONNET, capacity, 1_000);
  assert.deepEqual([2_999_999, 3_000_000, 3_014_999, 3_015_000].map(room), [0, 0, 0, 1]);
});

test("worstPrice is never less than what any call of that size costs", () => {
  const property = fc.property(anyRates, anyPaid, anyKinds, (rates, paidBasisPoints, kinds) => {
    const price = { rates: { ...rates, webSearch: 0 }, tiers: [], paidBasisPoints };
    const usage = usageOf(kinds);
    const { inputTokens, outputTokens } = usage;
    assert.ok(costOf(worstPrice(price), { inputTokens, outputTokens }) >= costOf(price, usage));
    assert.equal(worstPrice(price), worstPrice(price));
  });
  fc.assert(property, runs(500));
});

test("formatUsd and usdOfNano show nano-dollars exactly, nanoOfUsd reads them", () => {
  const shown = [0, 1, 123, 500_000_000, 1_000_000_000, 12_340_000_000, -5, 8_999_999_123_456_789];
  assert.deepEqual(shown.map(formatUsd), [
    "0",
    "0.000000001",
    "0.000000123",
    "0.5",
    "1",
    "12.34",
    "-0.000000005",
    "8999999.123456789",
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000 * 1e9 }), (nano) => {
      assert.equal(nanoOfUsd(Number(formatUsd(nano))), nano);
      assert.equal(usdOfNano(nano), Number(formatUsd(nano)));
    }),
    runs(500),
  );
});
