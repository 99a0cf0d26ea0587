import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  OutputCalibration,
  type OutputCall,
  type OutputGroup,
} from "../../../src/core/estimate/output-quantile.ts";
import { parseOutputSnapshot } from "../../../src/core/estimate/output-snapshot.ts";
import { runs } from "../../support/property.ts";

const GROUP: OutputGroup = { provider: "openai", model: "gpt-4o", feature: "chat", plan: "free" };
const CALL: OutputCall = { inputTokens: 500, outputTokensMax: undefined, answers: 1 };
const WINDOW = 2_000;
const COVERED_MIN = 0.88 * WINDOW;

/** Sends one call and reports its end at once; returns whether its hold covered it. */
function send(calibration: OutputCalibration, outputTokens: number, group = GROUP, call = CALL): boolean {
  const running = begin(calibration, group, call);
  calibration.ended(running, { inputTokens: call.inputTokens, outputTokens });
  return outputTokens <= (running.expected ?? 1_024);
}

const begin = (calibration: OutputCalibration, group = GROUP, call = CALL) =>
  calibration.begin(group, call, calibration.expect(group, call));

function fed(lengths: readonly number[], group = GROUP): OutputCalibration {
  const calibration = new OutputCalibration();
  for (const length of lengths) send(calibration, length, group);
  return calibration;
}

/** The fewest calls covered in any `WINDOW` in a row. */
function coveredMin(covered: readonly boolean[]): number {
  let inWindow = 0;
  let least = WINDOW;
  covered.forEach((isCovered, i) => {
    inWindow += Number(isCovered) - (i >= WINDOW ? Number(covered[i - WINDOW]) : 0);
    if (i >= WINDOW - 1) least = Math.min(least, inWindow);
  });
  return least;
}

/** A deterministic number in [0, 1) for a place in a sequence. */
const noise = (i: number, salt: number) =>
  ((Math.imul(i + 1, 2_654_435_761) ^ Math.imul(salt, 40_503)) >>> 0) / 2 ** 32;

/** Kinds of stretches that a workload can be made of; lengths by the place in it. */
const STRETCHES: readonly ((i: number, scale: number) => number)[] = [
  (_, scale) => scale,
  (i, scale) => (i % 2 === 0 ? scale : 10 * scale),
  (i, scale) => (Math.floor(i / 50) % 2 === 0 ? scale : 20 * scale),
  (i, scale) => Math.ceil(scale * (0.2 + noise(i, scale))),
  // Pareto with shape 1: no mean.
  (i, scale) => Math.min(500_000, Math.ceil(scale / (1 - noise(i, scale)))),
  (i, scale) => Math.ceil(scale * 1.003 ** Math.min(i, 2_000)),
];

const workload = fc
  .array(
    fc.record({
      kind: fc.nat({ max: STRETCHES.length - 1 }),
      scale: fc.integer({ min: 1, max: 2_000 }),
      calls: fc.integer({ min: 50, max: 2_500 }),
    }),
    { minLength: 2, maxLength: 6 },
  )
  .map((stretches) =>
    stretches.flatMap(({ kind, scale, calls }) =>
      Array.from({ length: calls }, (_, i) => STRETCHES[kind](i, scale)),
    ),
  );

test("OutputCalibration covers 88 % of any 2,000 calls, whatever the workload does (E2)", () => {
  fc.assert(
    fc.property(workload, (lengths) => {
      const calibration = new OutputCalibration();
      const covered = lengths.map((length) => send(calibration, length));
      const least = coveredMin(covered);
      assert.ok(least >= COVERED_MIN, `${least} of ${WINDOW}`);
    }),
    runs(60),
  );
});

test("OutputCalibration covers 88 % of any 2,000 calls of an adversary who sees the hold (E2)", () => {
  // As long as it can, it writes more than is held, after a rest in which the level sinks as low as it goes.
  for (const factor of [1, 4, 1_000]) {
    const calibration = new OutputCalibration();
    const covered: boolean[] = [];
    for (let i = 0; i < 12_000; i++) {
      const isAttack = i % 4_000 >= 2_000;
      const hold = calibration.expect(GROUP, CALL) ?? 1_024;
      covered.push(send(calibration, isAttack ? Math.min(1_000_000, factor * hold + 1) : 10));
    }
    const least = coveredMin(covered);
    assert.ok(least >= COVERED_MIN, `${least} of ${WINDOW}`);
  }
});

test("OutputCalibration follows a sudden change by a factor of 100 within 25 misses (E2)", () => {
  const calibration = fed(Array.from({ length: 3_000 }, (_, i) => 20 + (i % 10)));
  const covered = Array.from({ length: 25 }, () => send(calibration, 2_500));
  assert.ok(covered.at(-1), `${covered}`);
});

test("OutputCalibration covers the calls that no maximum bounds, however many others have one (E2)", () => {
  const calibration = new OutputCalibration();
  const covered: boolean[] = [];
  for (let i = 0; i < 10_000; i++) {
    for (let bounded = 0; bounded < 5; bounded++)
      send(calibration, 5, GROUP, { ...CALL, outputTokensMax: 5 });
    covered.push(send(calibration, Math.ceil(1_000 * noise(i, 5)), { ...GROUP, feature: `text ${i % 500}` }));
  }
  const least = coveredMin(covered);
  assert.ok(least >= COVERED_MIN, `${least} of ${WINDOW}`);
});

test("OutputCalibration forgets: what calls used long ago is not held for those of today (E3)", () => {
  const calibration = fed(Array.from({ length: 20_000 }, () => 1_000));
  for (let i = 0; i < 1_500; i++) send(calibration, 50);
  const hold = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(hold <= 54, `${hold}`);
});

test("OutputCalibration covers 88 % of any 2,000 calls of many groups that all shift at once (E2)", () => {
  const calibration = new OutputCalibration();
  const covered = Array.from({ length: 16_000 }, (_, i) => {
    const group = { ...GROUP, feature: `f${i % 200}`, plan: `p${i % 3}` };
    const scale = i < 8_000 ? 100 : 1_000;
    return send(calibration, Math.ceil(scale * (0.5 + noise(i, 7))), group);
  });
  const least = coveredMin(covered);
  assert.ok(least >= COVERED_MIN, `${least} of ${WINDOW}`);
});

test("OutputCalibration holds little more than the length of calls that are all alike (E3)", () => {
  for (const length of [1, 7, 31, 500, 12_345]) {
    const hold = fed(Array.from({ length: 1_000 }, () => length)).expect(GROUP, CALL) ?? 0;
    assert.ok(hold >= length && hold <= Math.ceil(length * 1.07), `${hold} for ${length}`);
  }
});

test("OutputCalibration covers the total where the input is underestimated (E2)", () => {
  const calibration = new OutputCalibration();
  let covered = 0;
  for (let i = 0; i < 4_000; i++) {
    const hold = calibration.expect(GROUP, CALL) ?? 1_024;
    const inputTokens = CALL.inputTokens + (i % 3 === 0 ? 80 : -80);
    const outputTokens = Math.ceil(100 * noise(i, 3));
    if (i >= 2_000) covered += Number(CALL.inputTokens + hold >= inputTokens + outputTokens);
    calibration.ended(begin(calibration), { inputTokens, outputTokens });
  }
  assert.ok(covered >= COVERED_MIN, `${covered} of ${WINDOW}`);
});

test("OutputCalibration does not hold for others what a tool of the provider's has read into one call (E3)", () => {
  const calibration = new OutputCalibration();
  const outcome = { inputTokens: 100_000, outputTokens: 50 };
  for (let i = 0; i < 3; i++) calibration.ended(begin(calibration), outcome);
  assert.ok((calibration.expect(GROUP, CALL) ?? 0) <= 1_000);
});

test("OutputCalibration never holds more than the call's own maximum, and more for more answers (E5)", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 200 }),
      fc.nat({ max: 3_000 }),
      fc.integer({ min: 1, max: 8 }),
      (lengths, outputTokensMax, answers) => {
        const calibration = fed(lengths);
        const one = calibration.expect(GROUP, CALL) ?? 0;
        assert.ok((calibration.expect(GROUP, { ...CALL, outputTokensMax, answers }) ?? 0) <= outputTokensMax);
        assert.equal(calibration.expect(GROUP, { ...CALL, answers }), one * answers);
      },
    ),
    runs(100),
  );
});

test("OutputCalibration learns the length of one answer from calls that ask for several (E2)", () => {
  const calibration = new OutputCalibration();
  for (let i = 0; i < 500; i++) send(calibration, 400, GROUP, { ...CALL, answers: 4 });
  const hold = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(hold >= 100 && hold <= 110, `${hold}`);
});

test("OutputCalibration knows nothing before its first report, and leans on broader groups after it", () => {
  const calibration = new OutputCalibration();
  assert.equal(calibration.expect(GROUP, CALL), undefined);
  for (let i = 0; i < 300; i++) send(calibration, 200);
  const known = calibration.expect(GROUP, CALL) ?? 0;
  for (const other of [
    { ...GROUP, plan: "premium" },
    { ...GROUP, feature: "other" },
    { ...GROUP, effort: "high" },
    { ...GROUP, model: "gpt-9" },
    { ...GROUP, provider: "anthropic" },
  ]) {
    const hold = calibration.expect(other, CALL) ?? 0;
    assert.ok(Math.abs(hold - known) <= 0.1 * known, `${hold} beside ${known}`);
  }
});

test("OutputCalibration keeps features, plans and efforts apart once each is known", () => {
  const calibration = new OutputCalibration();
  const groups = [
    GROUP,
    { ...GROUP, plan: "premium" },
    { ...GROUP, feature: "x" },
    { ...GROUP, effort: "high" },
  ];
  for (let i = 0; i < 400; i++) {
    for (const [g, group] of groups.entries()) send(calibration, 100 * (g + 1), group);
  }
  const holds = groups.map((group) => calibration.expect(group, CALL) ?? 0);
  holds.forEach((hold, g) => {
    assert.ok(hold >= 100 * (g + 1) && hold <= 107 * (g + 1), `${holds}`);
  });
});

test("OutputCalibration counts a miss once, when it happens (E2)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 200, max: 900 }), fc.integer({ min: 2, max: 30 }), (length, times) => {
      const lengths = Array.from({ length: 300 }, (_, i) => Math.ceil(length * 4 * noise(i, length)));
      const [early, late] = [fed(lengths), fed(lengths)];
      const before = early.expect(GROUP, CALL) ?? 0;
      const outputTokens = before * times;
      const running = begin(early);
      early.emitted(running, before + 1);
      assert.ok((early.expect(GROUP, CALL) ?? 0) > before);
      early.ended(running, { inputTokens: undefined, outputTokens });
      late.ended(begin(late), { inputTokens: undefined, outputTokens });
      const [told, untold] = [early.expect(GROUP, CALL) ?? 0, late.expect(GROUP, CALL) ?? 0];
      // What it had written by then weighs a little less than what it wrote at its end.
      assert.ok(Math.abs(told - untold) <= 0.01 * untold, `${told} and ${untold}`);
    }),
    runs(50),
  );
});

test("OutputCalibration answers a burst of misses once: what was corrected meanwhile is not corrected again", () => {
  const calibration = fed(Array.from({ length: 500 }, () => 100));
  const calls = Array.from({ length: 1_000 }, () => begin(calibration));
  const hold = calls[0].expected ?? 0;
  for (const running of calls) calibration.emitted(running, hold + 1);
  assert.ok(calls.filter(({ isMissCorrected }) => isMissCorrected).length < 20);
  // How far they go, nobody knows: as far as models write anywhere.
  assert.ok((calibration.expect(GROUP, CALL) ?? 0) <= 2 * 8_192);
  for (const running of calls.slice(0, 50))
    calibration.ended(running, { inputTokens: undefined, outputTokens: 150 });
  assert.ok((calibration.expect(GROUP, CALL) ?? 0) < 2 * hold);
});

test("OutputCalibration raises the hold beyond every length seen while long calls are still running (E2)", () => {
  const calibration = fed(Array.from({ length: 500 }, () => 100));
  let misses = 0;
  while (misses < 100 && (calibration.expect(GROUP, CALL) ?? 0) < 50_000) {
    calibration.emitted(begin(calibration), 50_000);
    misses++;
  }
  assert.ok(misses <= 30, `${misses}`);
});

const lengthsOf = fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 80 });

test("OutputCalibration absorbs instances in any order, and each once, however often it is told", () => {
  fc.assert(
    fc.property(lengthsOf, lengthsOf, lengthsOf, lengthsOf, (own, first, second, later) => {
      const [a, b] = [fed(first).snapshot(), fed(second, { ...GROUP, plan: "premium" }).snapshot()];
      const forwards = fed(own);
      forwards.absorb("a", a);
      forwards.absorb("b", b);
      const backwards = fed(own);
      backwards.absorb("b", b);
      backwards.absorb("a", a);
      const often = fed(own);
      for (const [id, snapshot] of [
        ["a", b],
        ["a", a],
        ["b", b],
        ["a", a],
        ["b", b],
      ] as const) {
        if (id === "a" && snapshot === b) often.absorb(id, { ...b, revision: b.revision + 1_000 });
        else often.absorb(id, snapshot);
      }
      for (const length of [undefined, ...later]) {
        for (const one of [forwards, backwards, often]) if (length !== undefined) send(one, length);
        forwards.absorb("a", a);
        for (const plan of ["free", "premium", "none"]) {
          const expected = forwards.expect({ ...GROUP, plan }, CALL);
          assert.equal(backwards.expect({ ...GROUP, plan }, CALL), expected);
          assert.equal(often.expect({ ...GROUP, plan }, CALL), expected);
        }
      }
    }),
    runs(40),
  );
});

test("OutputCalibration takes up after a restart where its last life stood", () => {
  const before = fed(Array.from({ length: 1_000 }, (_, i) => 50 + (i % 100)));
  const saved = parseOutputSnapshot(JSON.parse(JSON.stringify(before.snapshot())));
  assert.ok(saved !== undefined);
  const after = new OutputCalibration();
  after.absorb("before", saved);
  const [was, is] = [before.expect(GROUP, CALL) ?? 0, after.expect(GROUP, CALL) ?? 0];
  assert.ok(Math.abs(was - is) <= 0.1 * was, `${was} and ${is}`);
});

test("OutputCalibration knows what another instance has seen until it is told to forget it", () => {
  const other = fed(Array.from({ length: 1_000 }, () => 700));
  const calibration = new OutputCalibration();
  calibration.absorb("other", other.snapshot());
  const hold = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(hold >= 700 && hold <= 750, `${hold}`);
  calibration.forget("other");
  assert.equal(calibration.expect(GROUP, CALL), undefined);
});

test("OutputCalibration publishes nothing that it absorbed", () => {
  const calibration = new OutputCalibration();
  calibration.absorb("a", fed([1, 2, 3]).snapshot());
  assert.deepEqual(calibration.snapshot().groups, []);
});

test("OutputCalibration lets absorbed evidence fade as it sees calls itself", () => {
  for (const others of [false, true]) {
    const calibration = new OutputCalibration();
    const snapshot = fed(Array.from({ length: 2_000 }, () => 5_000)).snapshot();
    for (let i = 0; i < 3_000; i++) {
      // The same revision again and again, and a living instance whose evidence is summed up anew each time.
      if (i % 100 === 0) calibration.absorb("dead", snapshot);
      if (i % 100 === 0 && others) calibration.absorb("alive", { ...fed([100]).snapshot(), revision: i });
      send(calibration, 100);
    }
    const hold = calibration.expect(GROUP, CALL) ?? 0;
    assert.ok(hold <= 107, `${hold}`);
  }
});

test("OutputCalibration keeps a bounded number of groups, whatever names clients send (X5)", () => {
  const calibration = new OutputCalibration({ groupsMax: 50 });
  for (let i = 0; i < 2_000; i++) {
    send(calibration, 100, { provider: "p", model: `m${i}`.padEnd(i, "x"), feature: `f${i}` });
    send(calibration, 300);
    assert.ok(calibration.groups <= 50);
  }
  const hold = calibration.expect(GROUP, CALL) ?? 0;
  assert.ok(hold >= 300 && hold <= 321, `${hold}`);
  assert.ok(JSON.stringify(calibration.snapshot()).length < 100_000);
});

test("OutputCalibration gives up narrow absorbed groups before broad ones (X5)", () => {
  const calibration = new OutputCalibration({ groupsMax: 12 });
  const other = { provider: "elsewhere", model: "m", feature: "f", plan: "p", effort: "e" };
  calibration.absorb(
    "a",
    fed(
      Array.from({ length: 300 }, () => 5_000),
      other,
    ).snapshot(),
  );
  for (let i = 0; i < 2_000; i++) {
    send(calibration, 100);
    send(calibration, 100, { ...GROUP, model: "gpt-5" });
  }
  assert.ok((calibration.expect(other, CALL) ?? 0) > 3_000);
});

test("parseOutputSnapshot takes what was published, and nothing else", () => {
  const snapshot = fed([5, 500, 50_000]).snapshot();
  assert.deepEqual(parseOutputSnapshot(JSON.parse(JSON.stringify(snapshot))), snapshot);
  const [group] = snapshot.groups;
  for (const bad of [
    undefined,
    null,
    [],
    "",
    { ...snapshot, version: 0 },
    { ...snapshot, revision: -1 },
    { ...snapshot, groups: {} },
    { ...snapshot, groups: [{ ...group, path: [1] }] },
    { ...snapshot, groups: [{ ...group, path: ["a", "b", "c", "d", "e", "f"] }] },
    { ...snapshot, groups: [{ ...group, all: [544, 1] }] },
    { ...snapshot, groups: [{ ...group, all: [1] }] },
    { ...snapshot, groups: [{ ...group, all: [1, 0.5] }] },
    { ...snapshot, groups: [{ ...group, bands: [{ band: 99, counts: [] }] }] },
    { ...snapshot, groups: Array.from({ length: 100_000 }, () => group) },
  ]) {
    assert.equal(parseOutputSnapshot(bad), undefined);
  }
});

test("OutputCalibration answers within half a microsecond once it is warm (E4)", () => {
  const groups = Array.from({ length: 60 }, (_, i) => ({ ...GROUP, feature: `f${i}` }));
  const calibration = new OutputCalibration();
  for (let i = 0; i < 12_000; i++) send(calibration, (i * 7_919) % 900, groups[i % 60]);
  const batch = () => {
    const startedMs = performance.now();
    for (let i = 0; i < 50_000; i++) calibration.expect(groups[i % 60], CALL);
    return ((performance.now() - startedMs) * 1_000) / 50_000;
  };
  const bestMicroseconds = Math.min(...Array.from({ length: 10 }, batch));
  // Measured 0.14; the rest is for machines that are slow or busy.
  assert.ok(bestMicroseconds < 1.5, `${bestMicroseconds} µs`);
});
