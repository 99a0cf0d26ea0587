import {
  arenaDifferences,
  comebackRates,
  floodResult,
  SCHEDULERS,
} from "../../test/support/fairness-results.ts";

/** Told apart by the colour-blind too (Okabe and Ito), Sluice's own in the strongest. */
const COLOURS = ["#E69F00", "#999999", "#0072B2", "#56B4E9"];
const WIDTH = 640;
const HEIGHT = 260;
const BASE = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  // Pages are dark for some, and the ink is not.
  background: "white",
  padding: 12,
  config: {
    font: "Helvetica, Arial, sans-serif",
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridColor: "#e5e5e5" },
    legend: { labelFontSize: 12, labelLimit: 260, symbolStrokeWidth: 3 },
    title: {
      fontSize: 14,
      anchor: "start",
      subtitleFontSize: 12,
      subtitleColor: "#555",
      subtitlePadding: 6,
      offset: 14,
    },
    header: { labelFontSize: 12, title: null, labelAnchor: "start" },
    view: { stroke: null },
  },
} as const;
const colour = (names: readonly string[], title: string | null = null) => ({
  field: "scheduler",
  type: "nominal",
  scale: { domain: names, range: COLOURS.slice(0, names.length) },
  legend: { orient: "bottom", title, columns: 4 },
});

/** The paper's trace: how much less than the most served all others get, over time. */
export function arenaPlot(): object {
  const differences = arenaDifferences();
  return {
    ...BASE,
    width: WIDTH,
    height: HEIGHT,
    title: {
      text: "How much less than the most served user the others get",
      subtitle: "27 clients of Chatbot Arena, summed over all of them, each minute; lower is fairer",
    },
    data: {
      values: SCHEDULERS.flatMap((scheduler) =>
        differences[scheduler].map(({ atMs, sum }) => ({ scheduler, seconds: atMs / 1_000, sum })),
      ),
    },
    mark: { type: "line", strokeWidth: 2.5 },
    encoding: {
      x: { field: "seconds", type: "quantitative", title: "seconds since the first call" },
      y: { field: "sum", type: "quantitative", title: "weighted model tokens a second" },
      color: colour(SCHEDULERS),
    },
  };
}

/** Waits are shown from here on: shorter ones are nothing. */
const WAIT_MS_MIN = 10;
const QUANTILES = 200;

/** One floods with documents: which share of the calls of those who chat waits for how long. */
export function floodPlot(): object {
  const { waitsMs, serviceMs } = floodResult();
  const names = SCHEDULERS.slice(0, 3);
  const values = names.flatMap((scheduler) => {
    const waits = waitsMs[scheduler];
    return Array.from({ length: QUANTILES + 1 }, (_, i) => {
      const at = Math.min(waits.length - 1, Math.round((i / QUANTILES) * (waits.length - 1)));
      return { scheduler, share: i / QUANTILES, seconds: Math.max(WAIT_MS_MIN, waits[at]) / 1_000 };
    });
  });
  const x = { type: "quantitative", scale: { type: "log" }, title: "seconds of waiting, at most" } as const;
  return {
    ...BASE,
    width: WIDTH,
    height: HEIGHT,
    title: {
      text: "While one user floods with documents, how long do the twenty who chat wait?",
      subtitle: "share of their calls that has been served; further left is better",
    },
    layer: [
      {
        data: { values },
        mark: { type: "line", strokeWidth: 2.5, interpolate: "step-before" },
        encoding: {
          x: { ...x, field: "seconds", axis: { tickCount: 6, format: "~g" } },
          y: { field: "share", type: "quantitative", title: null, axis: { format: "%" } },
          order: { field: "share" },
          color: colour(names),
        },
      },
      {
        data: { values: [{ seconds: serviceMs / 1_000, label: "one document takes as long" }] },
        layer: [
          { mark: { type: "rule", strokeDash: [4, 4], color: "#555" } },
          {
            mark: { type: "text", align: "left", dx: 6, color: "#555", fontSize: 12 },
            encoding: { text: { field: "label" }, y: { value: HEIGHT / 2 } },
          },
        ],
        encoding: { x: { ...x, field: "seconds" } },
      },
    ],
  };
}

/** Somebody comes back after a while: what each gets. */
export function comebackPlot(): object {
  const rates = comebackRates();
  const names = SCHEDULERS.slice(0, 3);
  const LATE = "who comes back after a minute";
  const EARLY = "each of three who stayed";
  const values = names.flatMap((scheduler) =>
    rates[scheduler].flatMap(({ atMs, early, late }) => [
      { scheduler, seconds: atMs / 1_000, who: EARLY, rate: early },
      { scheduler, seconds: atMs / 1_000, who: LATE, rate: late },
    ]),
  );
  return {
    ...BASE,
    title: { text: "Who gets what when somebody comes back?", subtitle: "weighted model tokens a second" },
    data: { values },
    facet: { column: { field: "scheduler", type: "nominal", sort: names, header: { title: null } } },
    spec: {
      width: WIDTH / 3 - 16,
      height: HEIGHT - 60,
      mark: { type: "line", strokeWidth: 2.5 },
      encoding: {
        x: {
          field: "seconds",
          type: "quantitative",
          title: "seconds",
          scale: { domain: [20, 120], nice: false },
          axis: { tickCount: 5 },
        },
        y: { field: "rate", type: "quantitative", title: null, axis: { tickCount: 5 } },
        color: {
          field: "who",
          type: "nominal",
          scale: { domain: [EARLY, LATE], range: ["#0072B2", "#D55E00"] },
          legend: { orient: "bottom", title: null, labelLimit: 300 },
        },
      },
    },
  };
}
