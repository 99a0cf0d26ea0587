import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  type CalibrationGroup,
  GROUPS_MAX,
  InputCalibration,
} from "../../../src/core/estimate/input-calibration.ts";
import { runs } from "../../support/property.ts";
import { randomOf } from "../../support/random.ts";

const GROUP: CalibrationGroup = { provider: "openai", model: "gpt-4o", shape: "chat_completions/text" };

/** What a provider makes of raw estimates: a frame, a tokenizer, a scatter, and calls far off now and then. */
interface Truth {
  readonly overhead: number;
  readonly slope: number;
  readonly scatter: number;
  readonly oddShare: number;
}

const truth: fc.Arbitrary<Truth> = fc.record({
  overhead: fc.integer({ min: -15, max: 400 }),
  slope: fc.double({ min: 0.6, max: 2, noNaN: true }),
  scatter: fc.double({ min: 0, max: 0.25, noNaN: true }),
  oddShare: fc.double({ min: 0, max: 0.02, noNaN: true }),
});
const seed = fc.integer({ min: 1, max: 2 ** 31 - 1 });

class Stream {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  /** A prompt of 30 to 30,000 tokens, log-uniform, and its actual count. */
  next({ overhead, slope, scatter, oddShare }: Truth): { readonly raw: number; readonly actual: number } {
    const random = this.#random;
    const raw = Math.round(30 * 1000 ** random());
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const odd = random() < oddShare ? (random() < 0.5 ? 3 : 1 / 3) : 1;
    return {
      raw,
      actual: Math.max(1, Math.round((overhead + slope * raw) * Math.exp(scatter * normal) * odd)),
    };
  }
}

/** Ratios of so many calls, each estimated before it is learned. */
function ratiosOf(calibration: InputCalibration, stream: Stream, truth: Truth, calls: number): number[] {
  return Array.from({ length: calls }, () => {
    const { raw, actual } = stream.next(truth);
    const estimate = calibration.correct(GROUP, raw);
    calibration.learn(GROUP, raw, actual);
    return estimate / actual;
  });
}

const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;

/** 2 %, and what chance alone does to a mean that is known from 200 calls and tried on 1,000 (three standard errors). */
function assertUnbiased(ratios: readonly number[]): void {
  const middle = mean(ratios);
  const deviation = Math.sqrt(mean(ratios.map((one) => (one - middle) ** 2)));
  const bound = 0.02 + 3 * deviation * Math.sqrt(1 / 1_000 + 1 / 600);
  assert.ok(Math.abs(middle - 1) <= bound, `mean ${middle}, bound ${bound}`);
}

const learned = (
  calibration: InputCalibration,
  pairs: readonly (readonly [number, number])[],
  group = GROUP,
) => pairs.map(([raw, actual]) => calibration.learn(group, raw, actual));

describe("InputCalibration", () => {
  test("makes the mean of estimate ÷ actual 1 after 200 calls, whatever the provider adds (E1)", () => {
    fc.assert(
      fc.property(truth, seed, (truth, seed) => {
        const calibration = new InputCalibration();
        const stream = new Stream(seed);
        ratiosOf(calibration, stream, truth, 200);
        assertUnbiased(ratiosOf(calibration, stream, truth, 1_000));
      }),
      runs(60),
    );
  });

  test("is unbiased again 200 calls after the provider changed (E1)", () => {
    fc.assert(
      fc.property(truth, fc.constantFrom(0.6, 0.8, 1.25, 1.6), seed, (truth, factor, seed) => {
        const before = { ...truth, scatter: truth.scatter / 2, oddShare: 0 };
        const after = { ...before, overhead: before.overhead * factor, slope: before.slope * factor };
        const calibration = new InputCalibration();
        const stream = new Stream(seed);
        ratiosOf(calibration, stream, before, 2_000);
        ratiosOf(calibration, stream, after, 200);
        assertUnbiased(ratiosOf(calibration, stream, after, 1_000));
      }),
      runs(40),
    );
  });

  test("learns nothing from counts that cannot be true, and says so (E1)", () => {
    const absurd = fc.oneof(
      fc.constantFrom(-1, 0, Number.NaN, Number.POSITIVE_INFINITY, 1e12, 0.5, 1_000_000_001),
      fc.double({ max: 0 }),
    );
    fc.assert(
      fc.property(truth, seed, fc.array(absurd, { minLength: 1, maxLength: 30 }), (truth, seed, absurd) => {
        const [clean, poisoned] = [new InputCalibration(), new InputCalibration()];
        const [one, other] = [new Stream(seed), new Stream(seed)];
        for (const actual of absurd) {
          // Longer than any run that would be believed.
          for (let turn = 0; turn < 12; turn++) {
            assert.equal(poisoned.learn(GROUP, 1_000, actual), "flagged");
          }
          ratiosOf(clean, one, truth, 3);
          ratiosOf(poisoned, other, truth, 3);
        }
        assert.deepEqual(poisoned.snapshot(), clean.snapshot());
      }),
      runs(100),
    );
  });

  test("is not poisoned by possible counts that are far off, unless a run of them agrees (E1)", () => {
    const calibration = new InputCalibration();
    ratiosOf(calibration, new Stream(1), { overhead: 0, slope: 1, scatter: 0.05, oddShare: 0 }, 300);
    const before = calibration.correct(GROUP, 1_000);
    // A million tokens for a short prompt, thirty times, but no two in a row.
    for (let turn = 0; turn < 30; turn++) {
      assert.equal(calibration.learn(GROUP, 100, 1_000_000), "flagged");
      assert.equal(calibration.learn(GROUP, 1_000, 1_000), "learned");
    }
    // Far off each in its own way.
    for (let turn = 0; turn < 30; turn++)
      assert.equal(calibration.learn(GROUP, 100, 10_000 * 4 ** (turn % 4)), "flagged");
    assert.ok(Math.abs(calibration.correct(GROUP, 1_000) / before - 1) < 0.02);

    const answers = learned(
      calibration,
      Array.from({ length: 40 }, () => [1_000, 20_000]),
    );
    const believedAt = answers.indexOf("learned");
    assert.ok(believedAt > 2 && believedAt < 12, `believed at ${believedAt}`);
    assert.ok(answers.slice(believedAt).every((answer) => answer === "learned"));
    assert.ok(Math.abs(calibration.correct(GROUP, 1_000) / 20_000 - 1) < 0.1);
  });

  test("bounds every estimate, whatever was learned (E1)", () => {
    const count = fc.oneof(fc.integer({ min: 1, max: 1_000_000_000 }), fc.integer({ min: 1, max: 300 }));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(count, count), { maxLength: 60 }),
        fc.array(fc.double({ min: -1, max: 1e300 })),
        (pairs, raws) => {
          const calibration = new InputCalibration();
          learned(calibration, pairs);
          for (const raw of [...raws, ...pairs.map(([one]) => one)]) {
            const estimate = calibration.correct(GROUP, raw);
            assert.ok(estimate >= 0 && estimate <= 1_000_000_000, `${raw}: ${estimate}`);
            if (!(raw > 0)) assert.equal(estimate, 0);
            else if (raw >= 1e-6) assert.ok(estimate > 0, `${raw}: ${estimate}`);
          }
        },
      ),
      runs(300),
    );
  });

  test("falls back from the feature to the model, to models of the family, to the estimate as it is (E1)", () => {
    const calibration = new InputCalibration();
    const of = (provider: string, model: string, feature?: string): CalibrationGroup => ({
      provider,
      model,
      shape: "chat_completions/text",
      feature,
    });
    const near = (group: CalibrationGroup, tokens: number) => {
      const estimate = calibration.correct(group, 1_000);
      assert.ok(Math.abs(estimate / tokens - 1) < 0.02, `${JSON.stringify(group)}: ${estimate}`);
    };
    assert.equal(calibration.correct(of("p", "gpt-4o"), 1_000), 1_000);
    for (let turn = 0; turn < 300; turn++) calibration.learn(of("p", "gpt-4o"), 1_000, 1_500);
    near(of("p", "gpt-4o"), 1_500);
    near(of("p", "gpt-4o", "new"), 1_500);
    near(of("p", "gpt-5"), 1_500);
    near(of("p", "claude-opus-4"), 1_000);
    near(of("q", "gpt-4o"), 1_000);
    for (let turn = 0; turn < 20; turn++) calibration.learn(of("p", "gpt-4o", "summarize"), 1_000, 2_000);
    assert.ok(calibration.correct(of("p", "gpt-4o", "summarize"), 1_000) < 1_900);
    for (let turn = 0; turn < 300; turn++) calibration.learn(of("p", "gpt-4o", "summarize"), 1_000, 2_000);
    near(of("p", "gpt-4o", "summarize"), 2_000);
    for (let turn = 0; turn < 3_000; turn++) calibration.learn(of("p", "gpt-4o"), 1_000, 1_500);
    near(of("p", "gpt-4o"), 1_500);
    near(of("p", "gpt-4o", "summarize"), 2_000);
  });

  test("remembers a bounded number of groups, the youngest (X5)", () => {
    const calibration = new InputCalibration();
    for (let turn = 0; turn < 3 * GROUPS_MAX; turn++) {
      calibration.learn({ ...GROUP, model: `gpt-${turn}`, feature: `f${turn}` }, 1_000, 1_500);
      calibration.learn({ ...GROUP, model: "gpt-4o", shape: `s${turn}` }, 1_000, 1_500);
    }
    const groups = new Set(calibration.snapshot().map(({ name, feature }) => `${name} ${feature}`));
    assert.ok(groups.size <= GROUPS_MAX && groups.size > GROUPS_MAX / 2, `${groups.size}`);
    assert.ok(calibration.snapshot().length < 1.1 * GROUPS_MAX);
    assert.ok(groups.has("gpt-4o undefined"));
    assert.ok(groups.has(`gpt-${3 * GROUPS_MAX - 1} undefined`));
  });
});

test("InputCalibration leaves calls without an estimate alone (E1)", () => {
  const calibration = new InputCalibration();
  for (const raw of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e12]) {
    assert.equal(calibration.learn(GROUP, raw, 1_000), "flagged");
  }
  assert.deepEqual(calibration.snapshot(), []);
  for (const raw of [0, -1, Number.NaN]) assert.equal(calibration.correct(GROUP, raw), 0);
});

describe("InputCalibration drift", () => {
  test("tells a change of more than 10 % once, with the model, and no smaller one (E7)", () => {
    fc.assert(
      fc.property(fc.constantFrom(0.7, 0.85, 0.96, 1, 1.04, 1.2, 1.5), seed, (factor, seed) => {
        const calibration = new InputCalibration();
        const stream = new Stream(seed);
        const before = { overhead: 20, slope: 1, scatter: 0.1, oddShare: 0 };
        const after = { ...before, overhead: 20 * factor, slope: factor };
        ratiosOf(calibration, stream, before, 400);
        assert.deepEqual(calibration.drift(), []);
        const told = Array.from({ length: 60 }, () => {
          ratiosOf(calibration, stream, after, 10);
          return calibration.drift();
        }).flat();
        if (Math.abs(factor - 1) < 0.1) assert.deepEqual(told, []);
        else {
          assert.ok(told.length >= 1 && told.length <= 4, `told ${told.length} times`);
          const last = told.at(-1)!;
          assert.deepEqual(
            { provider: last.provider, model: last.model },
            { provider: "openai", model: "gpt-4o" },
          );
          assert.ok(
            Math.abs(last.now / told[0]!.before / factor - 1) < 0.15,
            `${told[0]!.before} to ${last.now}`,
          );
        }
      }),
      runs(50),
    );
  });

  test("is silent about a provider that scatters widely, but is steady (E7)", () => {
    fc.assert(
      fc.property(seed, (seed) => {
        const calibration = new InputCalibration();
        const stream = new Stream(seed);
        for (let turn = 0; turn < 30; turn++) {
          ratiosOf(calibration, stream, { overhead: 20, slope: 1, scatter: 0.55, oddShare: 0 }, 50);
          assert.deepEqual(calibration.drift(), []);
        }
      }),
      runs(40),
    );
  });

  test("tells a provider that suddenly counts twenty times as much (E7)", () => {
    const calibration = new InputCalibration();
    learned(
      calibration,
      Array.from({ length: 200 }, () => [1_000, 1_000]),
    );
    learned(
      calibration,
      Array.from({ length: 20 }, () => [1_000, 20_000]),
    );
    const [drift, ...rest] = calibration.drift();
    assert.equal(rest.length, 0);
    assert.ok(drift!.now / drift!.before > 15);
    assert.deepEqual(calibration.drift(), []);
  });
});

describe("InputCalibration shared", () => {
  const history = fc.array(
    fc.tuple(
      fc.constantFrom("gpt-4o", "gpt-5", "claude-opus-4-8"),
      fc.constantFrom(undefined, "a", "b"),
      fc.constantFrom("chat_completions/text", "chat_completions/tools"),
      fc.integer({ min: 1, max: 5_000 }),
      fc.integer({ min: 1, max: 5_000 }),
    ),
    { minLength: 1, maxLength: 40 },
  );
  type History = readonly (readonly [string, string | undefined, string, number, number])[];
  const lived = (history: History) => {
    const calibration = new InputCalibration();
    for (const [model, feature, shape, raw, actual] of history) {
      calibration.learn({ provider: "p", model, feature, shape }, raw, actual);
    }
    return calibration;
  };
  const sent = (calibration: InputCalibration): unknown[] =>
    JSON.parse(JSON.stringify(calibration.snapshot()));
  const answers = (calibration: InputCalibration) =>
    ["gpt-4o", "gpt-5", "gpt-6", "claude-opus-4-8"].flatMap((model) =>
      [undefined, "a", "b"].flatMap((feature) =>
        ["chat_completions/text", "chat_completions/tools"].map((shape) =>
          calibration.correct({ provider: "p", model, feature, shape }, 700),
        ),
      ),
    );
  const assertAlike = (one: readonly number[], other: readonly number[]) => {
    for (const [index, value] of one.entries()) {
      assert.ok(Math.abs(value / other[index]! - 1) < 1e-9, `${index}: ${value} ${other[index]}`);
    }
  };

  test("absorbs others in any order, twice as once, and its own snapshot stays its own (E1)", () => {
    fc.assert(
      fc.property(history, history, history, (mine, first, second) => {
        const [one, other, plain] = [lived(mine), lived(mine), lived(mine)];
        const [a, b] = [sent(lived(first)), sent(lived(second))];
        one.absorb("a", a);
        one.absorb("b", b);
        other.absorb("b", sent(lived(first)));
        other.absorb("a", a);
        other.absorb("b", b);
        other.absorb("a", a);
        assertAlike(answers(one), answers(other));
        assert.deepEqual(sent(one).length, sent(plain).length);
        one.absorb("a", []);
        one.absorb("b", []);
        plain.absorb("a", []);
        assertAlike(answers(one), answers(plain));
      }),
      runs(150),
    );
  });

  test("leaves out what it does not understand, and stays as it was (X3)", () => {
    const calibration = lived([["gpt-4o", undefined, "chat_completions/text", 100, 150]]);
    calibration.absorb("x", []);
    const before = answers(calibration);
    const [entry] = sent(calibration) as Record<string, unknown>[];
    const sums = entry!.sums as number[];
    calibration.absorb("x", [
      null,
      undefined,
      7,
      "text",
      [],
      {},
      { ...entry, version: 2 },
      { ...entry, sums: [] },
      { ...entry, sums: sums.map(() => Number.NaN) },
      { ...entry, sums: sums.map(() => -1) },
      { ...entry, sums: sums.map((_, place) => (place === 6 ? 1e300 : 1)) },
      { ...entry, sums: sums.map(() => 0) },
      { ...entry, level: "galaxy" },
      { ...entry, shape: 7 },
    ]);
    assertAlike(answers(calibration), before);
  });
});
