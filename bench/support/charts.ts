import { createRequire } from "node:module";
import { join } from "node:path";

export interface Chart {
  readonly title: string;
  /** What the axes are, with units. */
  readonly x: string;
  readonly y: string;
  /** For values that differ by orders of magnitude, nothing included. */
  readonly isLogarithmic?: boolean;
  /** Panels beside each other; one without a name where there is one only. */
  readonly points: readonly {
    readonly panel: string;
    readonly series: string;
    readonly x: number;
    readonly y: number;
  }[];
}

/** As much of Vega and Vega-Lite as is used here; they are installed with the peers. */
interface Vega {
  parse(spec: unknown): unknown;
  readonly View: new (
    runtime: unknown,
    options: { readonly renderer: "none" },
  ) => { toSVG(): Promise<string> };
}
interface VegaLite {
  compile(spec: unknown): { readonly spec: unknown };
}

const require = createRequire(join(import.meta.dirname, "..", "package.json"));
const WIDTH = 380;
const HEIGHT = 240;

/** Lines, one a series. */
export async function chartSvg({ title, x, y, points, isLogarithmic = false }: Chart): Promise<string> {
  const vega = (await import(require.resolve("vega"))) as Vega;
  const { compile } = (await import(require.resolve("vega-lite"))) as VegaLite;
  const hasPanels = points.some(({ panel }) => panel !== "");
  const spec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title,
    background: "white",
    data: { values: points },
    mark: { type: "line", strokeWidth: 1.5 },
    encoding: {
      ...(hasPanels && { column: { field: "panel", type: "nominal", title: null } }),
      x: { field: "x", type: "quantitative", title: x },
      y: { field: "y", type: "quantitative", title: y, ...(isLogarithmic && { scale: { type: "symlog" } }) },
      color: { field: "series", type: "nominal", title: null },
    },
    width: hasPanels ? WIDTH : 2 * WIDTH,
    height: HEIGHT,
    config: { legend: { labelLimit: WIDTH } },
  };
  return `${await new vega.View(vega.parse(compile(spec).spec), { renderer: "none" }).toSVG()}\n`;
}
