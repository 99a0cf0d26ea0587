/**
 * How much is held for calls, beside what they use (E2, E3): recorded traces and usages, in their own order, shuffled together, and with a shift half
 * way; with every outcome known before the next call; with streams that report when they end and are followed while they run; and with answers that come
 * whole, of which nothing is known before they end but how long they have taken.
 *
 * Beside it, holding `max_tokens`: the call's own where it names one. The traces do not say what their calls named; 4,096 stands for it, which three
 * quarters of the recorded calls that name one do. Recorded usages once with the input that the provider counted, so that the output estimate is seen by
 * itself, and once with the calibrated estimate. Holding nothing covers no call; what it risks is what calls under way will use (exposure).
 *
 * And what knowledge could do at best: the best fixed hold of each group, for who knows all calls in advance, and for each call what covers it as one of its
 * kind, for who knows all others in advance. Where both are above the goal, no estimate from groups and lengths of input reaches it: of the clients of
 * vtc-arena most come to a maximum of 513 in a tenth to a fifth of their calls, twice their mean.
 */
import { fixtureTraces, fullTraces, shuffled, type TraceCall } from "../test/support/output-traces.ts";
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import { fixedHeldShare, informedHeldShare } from "./support/best-holds.ts";
import { recordedUsages, withCalibratedInput } from "./support/recorded-usages.ts";
import { type HoldResult, type Pace, type RecordedCall, simulateHolds } from "./support/simulate-holds.ts";

const COVERAGE = 0.9;
const COVERAGE_MIN_PERCENT = 88;
const HELD_MAX = 1.6;
const MAX_TOKENS = 4_096;
/** The rate of the Azure conversation trace; shuffled and joined traces have no times of their own. */
const CALLS_PER_SECOND = 5;
/** A third of what fast models write in a second, and a usual time to the first model token. */
const STREAMED: Pace = { firstTokenSeconds: 1, tokenSeconds: 0.03, isStreamed: true, speedSpread: 0 };
/** As the recorded answers of one model differ in speed. */
const WHOLE: Pace = { ...STREAMED, isStreamed: false, speedSpread: 0.4 };
const AT_ONCE: Pace = { ...STREAMED, firstTokenSeconds: 0, tokenSeconds: 0, isStreamed: false };

const callOf = (trace: TraceCall, model = trace.model): RecordedCall => ({
  atSeconds: trace.atSeconds,
  group: { provider: "trace", model, feature: trace.client },
  inputTokensEstimated: trace.inputTokens,
  inputTokens: trace.inputTokens,
  outputTokens: trace.outputTokens,
  outputTokensMax: undefined,
});

const paced = (calls: readonly RecordedCall[]) =>
  calls.map((call, i) => ({ ...call, atSeconds: i / CALLS_PER_SECOND }));

/** All of one model, so that the second half is a shift inside its group. */
const joined = (first: readonly TraceCall[], second: readonly TraceCall[]) => {
  const calls = Math.min(first.length, second.length, 10_000);
  return paced([...first.slice(0, calls), ...second.slice(0, calls)].map((call) => callOf(call, "m")));
};

function scenarios(): ReadonlyMap<string, readonly RecordedCall[]> {
  const full = fullTraces();
  const traces = full.size > 0 ? full : fixtureTraces();
  const result = new Map<string, readonly RecordedCall[]>();
  for (const [name, calls] of traces) {
    result.set(
      name,
      calls.map((call) => callOf(call)),
    );
  }
  const usages = recordedUsages();
  if (usages.length > 0) {
    const counted = usages.map((call) => ({ ...call, inputTokensEstimated: call.inputTokens }));
    result.set("recorded usages", counted);
    result.set("recorded usages shuffled", paced(shuffled(counted, 1)));
    result.set("recorded usages, input estimated", withCalibratedInput(usages));
    result.set("recorded usages, input estimated, shuffled", paced(withCalibratedInput(shuffled(usages, 1))));
  }
  const all = [...traces.values()].flat().map((call) => callOf(call));
  result.set("all traces shuffled", paced(shuffled(all, 1)));
  const names = [...traces.keys()];
  names.forEach((name, i) => {
    const next = names[(i + 1) % names.length];
    result.set(`${name} then ${next}`, joined(traces.get(name) ?? [], traces.get(next) ?? []));
    if (i === 0) result.set(`${next} then ${name}`, joined(traces.get(next) ?? [], traces.get(name) ?? []));
  });
  return result;
}

const leastCovered = (name: string, { coverageMin }: HoldResult): Figure => ({
  name: `${name}, covered of any 2,000`,
  value: 100 * coverageMin,
  unit: "%",
  goal: { on: "value", kind: "at least", bound: COVERAGE_MIN_PERCENT },
});

const besideFlat = (value: number, peer: number) => ({ peer: "max_tokens", ratio: value / peer });

const heldFigure = (name: string, ours: HoldResult, flat: HoldResult): Figure => ({
  name: `${name}, held ÷ used`,
  value: ours.heldShare,
  unit: "×",
  ...besideFlat(ours.heldShare, flat.heldShare),
  goal: { on: "value", kind: "at most", bound: HELD_MAX },
});

function figuresOf(name: string, ours: HoldResult, flat: HoldResult): readonly Figure[] {
  return [
    { name: `${name}, covered`, value: 100 * ours.coverage, unit: "%" },
    leastCovered(name, ours),
    heldFigure(name, ours, flat),
    {
      name: `${name}, held ÷ used, output alone`,
      value: ours.heldOutputShare,
      unit: "×",
      ...besideFlat(ours.heldOutputShare, flat.heldOutputShare),
    },
  ];
}

/** What somebody would hold who need not learn. */
function floorFigures(name: string, calls: readonly RecordedCall[], ours: HoldResult): readonly Figure[] {
  return [
    { who: "best fixed hold of each group", best: fixedHeldShare(calls, COVERAGE) },
    { who: "knowing all other calls", best: informedHeldShare(calls, COVERAGE) },
  ].map(({ who, best }) => ({
    name: `${name}, held ÷ used, ${who}`,
    value: best,
    unit: "×",
    peer: "ours",
    ratio: best / ours.heldShare,
  }));
}

/** What only streams that take their time show. */
function streamFigures(name: string, ours: HoldResult, nothing: HoldResult): readonly Figure[] {
  return [
    { name: `${name}, held at most ÷ used`, value: ours.peakShare, unit: "×" },
    { name: `${name}, extensions a call`, value: ours.extensionsPerCall, unit: "×" },
    {
      name: `${name}, exposure`,
      value: ours.exposureMax,
      unit: "model tokens",
      peer: "nothing held",
      ratio: ours.exposureMax / nothing.exposureMax,
    },
  ];
}

async function run({ progress }: RunOptions): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const [name, calls] of scenarios()) {
    progress(name);
    const flat = simulateHolds(calls, AT_ONCE, ({ outputTokensMax }) => outputTokensMax ?? MAX_TOKENS);
    const atOnce = simulateHolds(calls, AT_ONCE, undefined);
    figures.push(...figuresOf(name, atOnce, flat), ...floorFigures(name, calls, atOnce));
    const streamed = simulateHolds(calls, STREAMED, undefined);
    // Nothing at all, not even the input.
    const bare = calls.map((call) => ({ ...call, inputTokensEstimated: 0 }));
    const nothing = simulateHolds(bare, STREAMED, () => 0);
    figures.push(...figuresOf(`${name}, streamed`, streamed, flat));
    figures.push(...streamFigures(`${name}, streamed`, streamed, nothing));
    const whole = simulateHolds(calls, WHOLE, undefined);
    figures.push(leastCovered(`${name}, whole`, whole), heldFigure(`${name}, whole`, whole, flat));
  }
  return figures;
}

export const holds: Benchmark = { name: "holds", run };
