import {
  adversaryResults,
  arenaDifferences,
  floodResult,
  recordedResults,
  SCHEDULERS,
  type SchedulerName,
} from "./fairness-results.ts";
import { type DifferenceSummary, summaryOf } from "./summed-differences.ts";

/** Largest and mean difference that Sheng et al. (OSDI 2024) measured on a GPU. */
export const PAPER: Readonly<Record<SchedulerName, DifferenceSummary>> = {
  "first come first served": { max: 760, mean: 434 },
  "least counter": { max: 750, mean: 324 },
  Sluice: { max: 368, mean: 252 },
  "Sluice, known lengths": { max: 329, mean: 228 },
};

const whole = (value: number) => Math.round(value).toLocaleString("en-US");
const seconds = (ms: number) =>
  `${(ms / 1_000).toLocaleString("en-US", { maximumFractionDigits: ms < 100_000 ? 1 : 0 })} s`;

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
  return [head, rule, ...rows].map(line).join("\n");
}

/** The paper's trace by the paper's measure. */
export function arenaTable(): string {
  const differences = arenaDifferences();
  const rows = SCHEDULERS.map((name) => {
    const { max, mean } = summaryOf(differences[name]);
    return [name, whole(max), whole(mean), whole(PAPER[name].max), whole(PAPER[name].mean)];
  });
  return markdown(["", "largest", "mean", "largest, paper", "mean, paper"], rows);
}

/** The waits of those who chat. */
export function floodTable(): string {
  const { waitsMs, serviceMs } = floodResult();
  const rows = SCHEDULERS.slice(0, 3).map((name) => {
    const waits = waitsMs[name];
    const at = (share: number) => seconds(waits[Math.floor(share * waits.length)]);
    return [name, at(0.5), at(0.99), seconds(waits[waits.length - 1])];
  });
  const document = ["*one document's service time*", "", "", `*${seconds(serviceMs)}*`];
  return markdown(["", "median", "99th percentile", "longest"], [...rows, document]);
}

/** One who would like more than a fair share. */
export function adversaryTable(): string {
  const rows = adversaryResults().map(({ adversary, schedulers }) => {
    const difference = SCHEDULERS.map((name) => whole(schedulers[name].mean));
    const advantages = SCHEDULERS.slice(0, 3).map((name) => `${schedulers[name].advantage.toFixed(2)} ×`);
    return [adversary.name, ...difference, ...advantages];
  });
  const gets = ["gets, first come", "gets, least counter", "gets, Sluice"];
  return markdown(["one who …", ...SCHEDULERS, ...gets], rows);
}

/** Every recorded trace. */
export function recordedTable(): string {
  const rows = recordedResults().flatMap(({ name, hours, calls, users, schedulers }) => {
    const trace = `${name}: ${whole(calls)} calls of ${users} in ${seconds(hours * 3_600_000)}`;
    const first = schedulers["first come first served"].throughput;
    return SCHEDULERS.map((scheduler, i) => {
      const { max, mean, jain, throughput } = schedulers[scheduler];
      const share = `${((throughput / first) * 100).toFixed(1)} %`;
      return [i === 0 ? trace : "", scheduler, whole(max), whole(mean), jain.toFixed(3), share];
    });
  });
  return markdown(["", "", "largest", "mean", "Jain's index", "throughput"], rows);
}
