import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Usage } from "../../../src/core/estimate/usage.ts";
import type { CallTarget } from "../../../src/core/policy/call-target.ts";
import { actualsFor, chargesFor, costOfCall } from "../../../src/core/policy/charges.ts";
import { CompiledPolicy, metersCost } from "../../../src/core/policy/compiled-policy.ts";
import { extensionFor } from "../../../src/core/policy/hold-extension.ts";
import type { LimitRule } from "../../../src/core/policy/policy.ts";
import { costOf } from "../../../src/core/price/cost.ts";
import {
  completeRates,
  flatPrice,
  type ModelPrice,
  worstPrice,
} from "../../../src/core/price/model-price.ts";
import { NO_PRICES, PriceBook, type PriceSource } from "../../../src/core/price/price-book.ts";
import { limitRule, planOf, ROOM } from "../../support/limit-rules.ts";
import { runs } from "../../support/property.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 12);
const ALICE = { user: "alice", plan: "free" };
const CHAT: CallTarget = { endpoint: "chat_completions", model: "gpt-4o", account: "openai/main" };
const USD = 1_000_000_000;
/** $2.50 in, $1.25 cached, $10 out. */
const GPT_4O = flatPrice(completeRates({ input: 25e8, cachedInput: 125e7, output: 1e10 }));

const cost = (limit: number, part: Partial<LimitRule> = {}) =>
  limitRule({ name: `cost-${limit}`, meter: "cost", limit, ...part });

const sourceOf = (plan: readonly LimitRule[], shared: readonly LimitRule[] = []) => ({
  plans: new Map([["free", planOf("free", plan)]]),
  limits: shared,
  accountLimits: new Map(),
  outputTokensDefault: 1_024,
  room: ROOM,
});
const policyOf = (rules: readonly LimitRule[], prices: PriceSource) =>
  new CompiledPolicy(sourceOf(rules), prices);
const priced = (price: ModelPrice): PriceSource => ({ quote: () => ({ kind: "listed", price }) });

const usage = (part: Partial<Usage>): Usage => ({
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  ...part,
});

test("chargesFor holds the price of the estimate, of the own maximum for worst_case, of nothing for none (E6)", () => {
  const price = flatPrice(completeRates({ input: 25e8, cacheWrite: 3e9, output: 1e10, audioOutput: 8e10 }));
  const rules = [
    cost(USD, { name: "e" }),
    cost(USD, { name: "w", reserve: "worst_case" }),
    cost(USD, { name: "n", reserve: "none" }),
  ];
  const held = (outputTokensMax: number | undefined) =>
    chargesFor(
      policyOf(rules, priced(price)),
      ALICE,
      CHAT,
      { inputTokens: 100, outputTokensMax },
      NOW_MS,
    ).subjects[0].charges.map(({ hold, need }) => [hold, need]);
  assert.deepEqual(held(2_000), [
    [100 * 2_500 + 1_024 * 10_000, 100 * 2_500 + 1_024 * 10_000],
    [100 * 3_000 + 2_000 * 80_000, 100 * 3_000 + 2_000 * 80_000],
    [0, 1],
  ]);
  assert.deepEqual(held(10)[0], [100 * 2_500 + 10 * 10_000, 100 * 2_500 + 10 * 10_000]);
});

test("actualsFor charges what was used at the price of the call's admission, whatever the price is by then (E6)", () => {
  const history = [
    { fromMs: Number.NEGATIVE_INFINITY, price: GPT_4O },
    {
      fromMs: NOW_MS,
      price: flatPrice(completeRates({ input: 1e9, cacheWrite: 2e9, output: 1e9, request: 1e12 })),
    },
  ];
  const policy = policyOf([cost(USD)], new PriceBook(NO_PRICES, () => history));
  const size = { inputTokens: 100, outputTokensMax: undefined };
  const before = chargesFor(policy, ALICE, CHAT, size, NOW_MS - 1);
  const after = chargesFor(policy, ALICE, CHAT, size, NOW_MS);
  const used = usage({ inputTokens: 1_000, cachedInputTokens: 400, outputTokens: 50 });
  assert.equal(actualsFor(before, used)[0].charges[0].actual, 600 * 2_500 + 400 * 1_250 + 50 * 10_000);
  assert.equal(actualsFor(after, used)[0].charges[0].actual, 1_050_000 + 1_000_000);
  const written = usage({ inputTokens: 10, cacheWriteInputTokens: 7 });
  assert.equal(actualsFor(after, written)[0].charges[0].actual, 3_000 + 14_000 + 1_000_000);
  // An answer without a usage costs nothing, though it is a request.
  assert.equal(actualsFor(after, undefined)[0].charges[0].actual, 0);
});

test("actualsFor charges what was run apart from the answer, each part at the price of its own model (E6, L7)", () => {
  const prices: PriceSource = {
    quote: (_account, model) =>
      model === "advisor"
        ? { kind: "listed", price: flatPrice(completeRates({ input: 5e9, output: 3e10, request: 1e12 })) }
        : model === "gpt-4o"
          ? {
              kind: "listed",
              price: flatPrice(
                completeRates({ input: 25e8, cachedInput: 125e7, output: 1e10, request: 2e12 }),
              ),
            }
          : { kind: "unknown" },
  };
  const rules = [
    cost(USD),
    limitRule({ name: "t", meter: "tokens", limit: 1e6 }),
    limitRule({ name: "i", meter: "input_tokens", limit: 1e6 }),
    limitRule({ name: "r", meter: "requests", limit: 1e6 }),
  ];
  const charges = chargesFor(
    policyOf(rules, prices),
    ALICE,
    CHAT,
    { inputTokens: 10, outputTokensMax: 9 },
    NOW_MS,
  );
  const used = usage({
    inputTokens: 100,
    outputTokens: 10,
    apart: [
      usage({ inputTokens: 5_000, cachedInputTokens: 4_000, outputTokens: 80 }),
      usage({ inputTokens: 2_000, outputTokens: 20, model: "Advisor" }),
      usage({ inputTokens: 1, outputTokens: 0, model: "nobody-knows" }),
    ],
  });
  const own = 100 * 2_500 + 10 * 10_000 + 2_000_000;
  const compaction = 1_000 * 2_500 + 4_000 * 1_250 + 80 * 10_000;
  const advice = 2_000 * 5_000 + 20 * 30_000;
  const [{ charges: actuals }] = actualsFor(charges, used);
  assert.deepEqual(
    actuals.map(({ actual }) => actual),
    [own + compaction + advice + 2_500, 7_101 + 110, 7_101, 1],
  );
  assert.equal(costOfCall(charges, used), own + compaction + advice + 2_500);
  const fallen = usage({ inputTokens: 100, outputTokens: 10, model: "advisor" });
  assert.equal(costOfCall(charges, fallen), 100 * 5_000 + 10 * 30_000 + 1_000_000);
});

test("extensionFor holds the price of more output in the tier of the whole input, and nothing else again (E6)", () => {
  const rates = completeRates({ input: 1e9, output: 1e10, request: 5e14, audioOutput: 8e10 });
  const long = completeRates({ input: 2e9, output: 3e10, request: 5e14, audioOutput: 9e10 });
  for (const paidBasisPoints of [10_000, 7_500]) {
    const price: ModelPrice = { rates, tiers: [{ aboveInputTokens: 1_000, rates: long }], paidBasisPoints };
    const rules = [cost(USD), cost(2 * USD, { reserve: "worst_case" }), cost(3 * USD, { reserve: "none" })];
    const heldFor = (inputTokens: number, said?: number) => {
      const size = { inputTokens, outputTokensMax: undefined, outputTokensExpected: 10 };
      const charges = chargesFor(policyOf(rules, priced(price)), ALICE, CHAT, size, NOW_MS);
      return extensionFor(charges, { from: 10, to: 110 }, said).flatMap((subject) =>
        subject.charges.map(({ hold }) => hold),
      );
    };
    const paid = (usdPerMillion: number) => (100 * usdPerMillion * 1_000 * paidBasisPoints) / 10_000;
    assert.deepEqual(heldFor(1_000), [paid(10), paid(80), 0]);
    assert.deepEqual(heldFor(1_001), [paid(30), paid(90), 0]);
    // The provider's own word on the input is better than any estimate.
    assert.deepEqual(heldFor(900, 1_001), [paid(30), paid(90), 0]);
    assert.deepEqual(heldFor(1_200, 1_000), [paid(10), paid(80), 0]);
  }
});

test("a call is held in the tier that it asks for, and settled in the one that the provider says it had (E6)", () => {
  const price: ModelPrice = {
    ...flatPrice(completeRates({ input: 1e9, output: 1e10, request: 5e14, audioOutput: 2e10 })),
    tiers: [{ aboveInputTokens: 1_000, rates: completeRates({ input: 2e9, output: 2e10 }) }],
    serviceTiers: new Map([
      ["flex", 5_000],
      ["priority", 17_500],
    ]),
    paidBasisPoints: 9_000,
  };
  const rules = [cost(USD), cost(2 * USD, { reserve: "worst_case" })];
  const chargesOf = (serviceTier: string | undefined, inputTokens = 1_000) => {
    const size = { inputTokens, outputTokensMax: 100, outputTokensExpected: 100, serviceTier };
    return chargesFor(policyOf(rules, priced(price)), ALICE, CHAT, size, NOW_MS);
  };
  const paid = (nanoUsd: number) => (nanoUsd * 9) / 10;
  const requestCost = 5e8;
  const held = (tier: string | undefined) =>
    chargesOf(tier).subjects.flatMap((subject) => subject.charges.map(({ hold }) => hold));
  // The worst is the dearest tier, whatever was asked for: `auto` leaves it to the provider.
  const worst = paid((1_000_000 + 2_000_000) * 1.75 + requestCost);
  assert.deepEqual(held(undefined), [paid(1_000_000 + 1_000_000 + requestCost), worst]);
  assert.deepEqual(held("auto"), held(undefined));
  assert.deepEqual(held("flex"), [paid(500_000 + 500_000 + requestCost), worst]);
  assert.deepEqual(held("priority"), [paid(1_750_000 + 1_750_000 + requestCost), worst]);
  assert.deepEqual(held("unheard-of"), held(undefined));
  const settled = (asked: string | undefined, serviceTier?: string) => {
    const used = usage({ inputTokens: 2_000, outputTokens: 100, ...(serviceTier && { serviceTier }) });
    return actualsFor(chargesOf(asked), used)[0].charges[0].actual;
  };
  const usual = paid(4_000_000 + 2_000_000);
  assert.equal(settled(undefined), usual);
  assert.equal(settled("flex", "default"), usual);
  assert.equal(settled("flex", "flex"), usual / 2);
  assert.equal(settled("flex"), usual / 2);
  assert.equal(settled("auto", "priority"), usual * 1.75);
  assert.equal(settled("priority", "unheard-of"), usual);
  const [slice] = extensionFor(chargesOf("flex", 1_001), { from: 100, to: 200 })[0].charges;
  assert.equal(slice.hold, paid(1_000_000));
});

test("a hold and its extensions never come to less than the call costs, nor to more than a nano-dollar each above it (E6)", () => {
  const rate = fc.integer({ min: 0, max: 1e11 });
  const arbitrary = fc.record({
    rates: fc.record({ input: rate, output: rate, request: rate }),
    tier: fc.record({ input: rate, output: rate, request: rate }),
    inputTokens: fc.integer({ min: 0, max: 2_000 }),
    slices: fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 6 }),
  });
  fc.assert(
    fc.property(arbitrary, ({ rates, tier, inputTokens, slices }) => {
      const price = {
        ...flatPrice(completeRates(rates)),
        tiers: [{ aboveInputTokens: 1_000, rates: completeRates(tier) }],
      };
      const size = { inputTokens, outputTokensMax: undefined, outputTokensExpected: 7 };
      const charges = chargesFor(policyOf([cost(1e6 * USD)], priced(price)), ALICE, CHAT, size, NOW_MS);
      const holdOf = (subjects: typeof charges.subjects) => subjects[0].charges[0].hold;
      let held = holdOf(charges.subjects);
      let outputTokens = 7;
      for (const slice of slices) {
        const from = outputTokens;
        outputTokens += slice;
        held += holdOf(extensionFor(charges, { from, to: outputTokens }));
      }
      const whole = costOf(price, { inputTokens, outputTokens });
      assert.ok(held >= whole && held <= whole + slices.length, `${held} of ${whole}`);
    }),
    runs(300),
  );
});

test("chargesFor refuses a model without a price where an enforced limit counts money, naming both, and only there (E6)", () => {
  const unknown: PriceSource = { quote: () => ({ kind: "unknown" }) };
  const charge = (rules: readonly LimitRule[], target = CHAT) =>
    chargesFor(policyOf(rules, unknown), ALICE, target, { inputTokens: 1, outputTokensMax: 1 }, NOW_MS);
  assert.throws(() => charge([cost(USD, { name: "s", mode: "shadow" }), cost(USD, { name: "day" })]), {
    code: "invalid_request",
    message: /the model "gpt-4o", and the limit "day" counts money; .*unknown_price/,
  });
  assert.throws(() => charge([cost(USD), cost(1, { mode: "shadow" })]), { code: "invalid_request" });
  assert.equal(charge([limitRule({})]).rules.length, 1);
  assert.equal(charge([cost(USD, { match: { model: "claude*" } })]).rules.length, 0);
  assert.equal(charge([cost(USD)], { ...CHAT, endpoint: "models" }).rules.length, 0);
  const shadow = charge([cost(USD, { mode: "shadow" })]);
  assert.equal(actualsFor(shadow, usage({ inputTokens: 9 }))[0].charges[0].actual, 0);
});

test("chargesFor asks for no price where no limit counts money", () => {
  let asked = 0;
  const prices: PriceSource = {
    quote: () => {
      asked += 1;
      return { kind: "listed", price: GPT_4O };
    },
  };
  const size = { inputTokens: 1, outputTokensMax: 1 };
  chargesFor(policyOf([limitRule({})], prices), ALICE, CHAT, size, NOW_MS);
  assert.equal(asked, 0);
  chargesFor(policyOf([cost(USD), cost(2 * USD)], prices), ALICE, CHAT, size, NOW_MS);
  assert.equal(asked, 1);
});

test("metersCost finds a limit on cost wherever it is written", () => {
  const account = new Map([["openai/main", [cost(1)]]]);
  assert.equal(metersCost(sourceOf([limitRule({})])), false);
  assert.equal(metersCost(sourceOf([cost(1)])), true);
  assert.equal(metersCost(sourceOf([], [cost(1)])), true);
  assert.equal(metersCost({ ...sourceOf([]), accountLimits: account }), true);
});

const anyRate = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 1e11 }));
const anyPrice = fc
  .record({
    input: anyRate,
    cacheWrite: anyRate,
    output: anyRate,
    reasoning: anyRate,
    request: anyRate,
    paidBasisPoints: fc.constantFrom(10_000, 8_500, 3),
  })
  .map(
    ({ paidBasisPoints, ...rates }): ModelPrice => ({ ...flatPrice(completeRates(rates)), paidBasisPoints }),
  );
const anyRule = fc.record({
  limit: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 1e10 })),
  reserve: fc.constantFrom("expected" as const, "worst_case" as const, "none" as const),
  mode: fc.constantFrom("enforce" as const, "shadow" as const),
});
const anyTokens = fc.option(fc.integer({ min: 1, max: 50_000 }), { nil: undefined });

test("chargesFor never lets a guess refuse a call whose input the budget pays for, nor hold more than input and the own maximum cost (E5)", () => {
  const property = fc.property(
    anyPrice,
    fc.array(anyRule, { minLength: 1, maxLength: 3 }),
    fc.integer({ min: 0, max: 20_000 }),
    anyTokens,
    anyTokens,
    (price, parts, inputTokens, outputTokensMax, outputTokensExpected) => {
      const policy = policyOf(
        parts.map((part, i) => cost(part.limit, { ...part, name: `r${i}` })),
        priced(price),
      );
      const size = { inputTokens, outputTokensMax, outputTokensExpected };
      const { subjects, rules } = chargesFor(policy, ALICE, CHAT, size, NOW_MS);
      subjects[0].charges.forEach(({ hold, need }, i) => {
        const { reserve, limit } = rules[i];
        const held = reserve === "worst_case" ? worstPrice(price) : price;
        const isOwnWorst = reserve === "worst_case" && outputTokensMax !== undefined;
        assert.ok(Number.isSafeInteger(hold) && hold >= 0 && need >= Math.max(1, hold));
        assert.ok(hold <= costOf(held, { inputTokens, outputTokens: outputTokensMax ?? 1e9 }));
        if (isOwnWorst) assert.equal(hold, costOf(held, { inputTokens, outputTokens: outputTokensMax }));
        else if (costOf(held, { inputTokens, outputTokens: 0 }) <= limit) assert.ok(need <= limit);
      });
    },
  );
  fc.assert(property, runs(2_000));
});

test("chargesFor leaves room in a budget for ten calls of which nothing is known (E5)", () => {
  const [{ charges }] = chargesFor(
    policyOf([cost(10_000_000)], priced(GPT_4O)),
    ALICE,
    CHAT,
    { inputTokens: 0, outputTokensMax: undefined },
    NOW_MS,
  ).subjects;
  assert.equal(charges[0].hold, 1_000_000);
});
