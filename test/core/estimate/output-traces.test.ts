import assert from "node:assert/strict";
import { test } from "node:test";
import { OutputCalibration } from "../../../src/core/estimate/output-quantile.ts";
import { fixtureTraces, fullTraces, shuffled, type TraceCall } from "../../support/output-traces.ts";

/** E2 is over any so many calls in a row. */
const WINDOW = 2_000;
const COVERAGE_MIN = 0.88;
const TIGHT_MAX = 1.6;
/** What is held while nothing at all is known. */
const DEFAULT_OUTPUT = 1_024;

interface Result {
  readonly coverage: number;
  readonly coverageMin: number;
  readonly heldShare: number;
}

/** Each call's outcome is known before the next. `byModel` false: all are of one model, so that a change of the trace is a shift inside a group. */
function replay(calls: readonly TraceCall[], byModel = true): Result {
  const calibration = new OutputCalibration();
  let [held, actual, covered, inWindow, coverageMin] = [0, 0, 0, 0, 1];
  const isCovered: boolean[] = [];
  for (const { model, client, inputTokens, outputTokens } of calls) {
    const group = { provider: "p", model: byModel ? model : "m", feature: client };
    const call = { inputTokens, outputTokensMax: undefined, answers: 1 };
    const expected = calibration.expect(group, call);
    const hold = expected ?? DEFAULT_OUTPUT;
    held += inputTokens + hold;
    actual += inputTokens + outputTokens;
    calibration.ended(calibration.begin(group, call, expected), { inputTokens, outputTokens });
    isCovered.push(outputTokens <= hold);
    covered += Number(outputTokens <= hold);
    inWindow += Number(outputTokens <= hold);
    if (isCovered.length > WINDOW) inWindow -= Number(isCovered[isCovered.length - 1 - WINDOW]);
    if (isCovered.length >= WINDOW) coverageMin = Math.min(coverageMin, inWindow / WINDOW);
  }
  return { coverage: covered / calls.length, coverageMin, heldShare: held / actual };
}

const assertCovers = (name: string, { coverage, coverageMin }: Result) => {
  assert.ok(coverage >= 0.9, `${name}: ${coverage} covered`);
  assert.ok(coverageMin >= COVERAGE_MIN, `${name}: only ${coverageMin} of some ${WINDOW} calls covered`);
};

const sources = [
  { source: "the fixture", traces: fixtureTraces() },
  { source: "the full traces", traces: fullTraces() },
];

test("OutputCalibration covers 88 % of any 2,000 calls of every recorded trace, in its own order (E2)", () => {
  for (const { source, traces } of sources) {
    for (const [name, calls] of traces) assertCovers(`${name} of ${source}`, replay(calls));
  }
});

test("OutputCalibration covers 88 % of any 2,000 calls of all traces shuffled together (E2)", () => {
  for (const { source, traces } of sources) {
    if (traces.size === 0) continue;
    assertCovers(source, replay(shuffled([...traces.values()].flat(), 1)));
  }
});

test("OutputCalibration covers 88 % of any 2,000 calls when a model's workload shifts half way (E2)", () => {
  for (const { source, traces } of sources) {
    for (const [before, first] of traces) {
      for (const [after, second] of traces) {
        if (before === after) continue;
        const calls = [...first.slice(0, 5_000), ...second.slice(0, 5_000)];
        assertCovers(`${before} then ${after} of ${source}`, replay(calls, false));
      }
    }
  }
});

test("OutputCalibration holds less than 1.6 times what recorded calls use, at 90 % coverage (E3)", () => {
  for (const { source, traces } of sources) {
    let [held, actual] = [0, 0];
    for (const [name, calls] of traces) {
      const { heldShare, coverage } = replay(calls);
      const used = calls.reduce((sum, call) => sum + call.inputTokens + call.outputTokens, 0);
      held += heldShare * used;
      actual += used;
      assert.ok(coverage >= 0.9, `${name} of ${source}: ${coverage} covered`);
      // 1,500 short calls of 27 clients, over before anything is known of most: the best fixed hold for them, chosen afterwards, is 1.65.
      if (name !== "vtc-arena") assert.ok(heldShare < TIGHT_MAX, `${name} of ${source}: ${heldShare}`);
    }
    if (actual > 0) assert.ok(held / actual < TIGHT_MAX, `${source}: ${held / actual}`);
  }
});
