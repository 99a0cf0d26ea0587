import { cpus } from "node:os";
import { type Figure, isReached } from "../benchmark.ts";

/** Where rounds lie further apart than this, others used the machine, and the figures are to be read with care. */
const NOISY_SPREAD = 0.3;

export const machineLine = () =>
  `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, Node ${process.version}`;

const number = (value: number): string => {
  const digits = value >= 1_000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

function goalText({ goal, unit }: Figure): string {
  if (goal === undefined) return "";
  const sign = goal.kind === "at most" ? "≤" : "≥";
  return goal.on === "ratio"
    ? `${sign} ${goal.bound} ×`
    : `${sign} ${goal.bound.toLocaleString("en-US")} ${unit}`;
}

function row(benchmark: string, figure: Figure): readonly string[] {
  const reached = isReached(figure);
  return [
    `${benchmark}: ${figure.name}`,
    `${number(figure.value)} ${figure.unit}`,
    figure.spread === undefined ? "" : `± ${Math.round(figure.spread * 50)} %`,
    figure.peer ?? "",
    figure.ratio === undefined ? "" : `${number(figure.ratio)} ×`,
    goalText(figure),
    (reached === undefined ? "" : reached ? "yes" : "NO") +
      (figure.void === undefined ? "" : ` (void: ${figure.void})`),
  ];
}

const HEADINGS = ["figure", "measured", "rounds", "peer", "ratio", "goal", "reached"];

/** Others that use more than this of the machine make every time longer, and every ratio less certain. */
const OTHERS_SHARE_MAX = 0.1;

/** The table that a person reads. `othersShare` is the largest share of the machine seen in use while no benchmark ran. */
export function table(results: ReadonlyMap<string, readonly Figure[]>, othersShare: number): string {
  const rows = [HEADINGS, ...[...results].flatMap(([name, figures]) => figures.map((one) => row(name, one)))];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((cells) => cells[column].length)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("  ")
      .trimEnd(),
  );
  const noisy = [...results].filter(([, figures]) => figures.some((one) => (one.spread ?? 0) > NOISY_SPREAD));
  const notes = [machineLine()];
  if (noisy.length > 0) {
    const names = noisy.map(([name]) => name).join(", ");
    notes.push(
      `The machine was noisy: rounds of ${names} lie more than ${NOISY_SPREAD * 100} % apart. Trust the ratios more than the times, and a second run more than either.`,
    );
  }
  if (othersShare > OTHERS_SHARE_MAX) {
    notes.push(`Others used ${Math.round(othersShare * 100)} % of the machine when a benchmark began.`);
  }
  return [...lines, "", ...notes].join("\n");
}

/** The same for programs. */
export function json(results: ReadonlyMap<string, readonly Figure[]>, othersShare: number): string {
  const benchmarks = Object.fromEntries(
    [...results].map(([name, figures]) => [
      name,
      figures.map((one) => ({ ...one, reached: isReached(one) ?? null })),
    ]),
  );
  return `${JSON.stringify({ machine: machineLine(), othersShare, benchmarks }, undefined, 2)}\n`;
}
