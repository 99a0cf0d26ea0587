/**
 * Writes docs/fairness.md and its pictures from simulations on recorded and adversarial arrivals: `node scripts/run.mjs fairness`. The same every time.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fullTraces, type TraceCall } from "../test/support/output-traces.ts";
import { randomOf } from "../test/support/random.ts";
import {
  fifo,
  leastCounter,
  type SchedulerOf,
  type Served,
  type SimulatedCall,
  serviceBetween,
  simulate,
  throughput,
  unfairness,
  waitingRoom,
} from "../test/support/service-simulation.ts";
import { callsOfTrace, offeredLoad } from "../test/support/vtc-trace.ts";
import { type Chart, chartSvg } from "./support/charts.ts";
import { installPeers } from "./support/peers.ts";

const DOCS = join(import.meta.dirname, "..", "docs");
const SECOND_MS = 1_000;
const PLACES = 16;
/** Half of what arrives can be served at once: nearly everybody waits. */
const OVERLOAD = 2;

const SCHEDULERS: readonly { readonly name: string; readonly of: SchedulerOf; readonly known: boolean }[] = [
  { name: "first come, first served", of: fifo, known: false },
  { name: "least counter without lift", of: leastCounter, known: false },
  { name: "Sluice", of: waitingRoom(), known: false },
  { name: "Sluice, lengths known", of: waitingRoom(), known: true },
];

const TRACES = [
  { name: "vtc-arena", what: "27 clients of LMSYS Chatbot Arena, ten minutes", windowMs: 60 * SECOND_MS },
  {
    name: "azure-conv",
    what: "an hour of a cloud's chats; who called is not recorded: each call is one of 30 users, the k-th of them 1/k as often as the first",
    windowMs: 60 * SECOND_MS,
  },
  { name: "servegen-m-large", what: "a cloud's clients, three minutes", windowMs: 4 * SECOND_MS },
  { name: "servegen-r1", what: "a cloud's clients of a reasoning model", windowMs: 20 * SECOND_MS },
] as const;
const USERS_DRAWN = 30;

/** A flood of documents, from a third of the time on, among twenty who chat. */
const FLOOD = { chatters: 20, fromMs: 60 * SECOND_MS, untilMs: 180 * SECOND_MS, speed: 100_000 };

function floodCalls(): SimulatedCall[] {
  const random = randomOf(14);
  const calls: SimulatedCall[] = [];
  const add = (user: string, perSecond: number, size: number, fromMs: number) => {
    for (let atMs = fromMs; atMs < FLOOD.untilMs; atMs += (SECOND_MS / perSecond) * (0.5 + random())) {
      calls.push({ user, atMs, expected: size, actual: Math.round(size * (0.5 + random())) });
    }
  };
  add("flood", 50, 50_000, FLOOD.fromMs);
  for (let i = 0; i < FLOOD.chatters; i++) add(`chat-${i}`, 2, 200, 0);
  return calls.sort((a, b) => a.atMs - b.atMs);
}

const wholeOrDash = (value: number) =>
  Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–";

interface Row {
  readonly scheduler: string;
  readonly served: readonly Served[];
  readonly cells: string;
}

/** Gives calls without a caller one, by Zipf's law. */
function withUsers(trace: readonly TraceCall[]): readonly TraceCall[] {
  if (trace[0].client !== undefined) return trace;
  const random = randomOf(15);
  const weights = Array.from({ length: USERS_DRAWN }, (_, k) => 1 / (k + 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return trace.map((call) => {
    let rest = random() * total;
    const user = weights.findIndex((weight) => {
      rest -= weight;
      return rest < 0;
    });
    return { ...call, client: `${user}` };
  });
}

function traceRows(name: string, windowMs: number): readonly Row[] {
  const rows = fullTraces().get(name);
  if (rows === undefined) throw new Error("the recorded traces are not beside the project");
  const trace = withUsers(rows);
  const guessed = callsOfTrace(trace);
  const known = callsOfTrace(trace, true);
  const server = { places: PLACES, speed: offeredLoad(guessed) / OVERLOAD };
  return SCHEDULERS.map(({ name: scheduler, of, known: isKnown }) => {
    const served = simulate(isKnown ? known : guessed, server, of);
    const { max, mean, jain } = unfairness(served, windowMs);
    const cells = `${wholeOrDash(max)} | ${wholeOrDash(mean)} | ${jain.toFixed(3)} | ${wholeOrDash(throughput(served))}`;
    return { scheduler, served, cells };
  });
}

/** Of the busiest users of a trace, what each was given in each window. */
function serviceChart(rows: readonly Row[]): Chart {
  const windowMs = 30 * SECOND_MS;
  const totals = serviceBetween(rows[0].served, 0, Number.POSITIVE_INFINITY);
  const users = [...totals].sort((a, b) => b[1] - a[1]).slice(0, 8);
  const points = rows
    .filter(({ scheduler }) => scheduler === SCHEDULERS[0].name || scheduler === SCHEDULERS[2].name)
    .flatMap(({ scheduler, served }) =>
      Array.from({ length: 20 }, (_, i) => i * windowMs).flatMap((fromMs) => {
        const given = serviceBetween(served, fromMs, fromMs + windowMs);
        return users.map(([user], place) => ({
          panel: scheduler,
          series: `user ${place + 1}`,
          x: (fromMs + windowMs / 2) / SECOND_MS,
          y: (given.get(user) ?? 0) / (windowMs / SECOND_MS),
        }));
      }),
    );
  return {
    title: "What the eight busiest users of the arena trace are given",
    x: "seconds",
    y: "weighted model tokens a second",
    points,
  };
}

function worstWaits(of: SchedulerOf, calls: readonly SimulatedCall[]) {
  const served = simulate(calls, { places: PLACES, speed: FLOOD.speed }, of);
  const windowMs = 5 * SECOND_MS;
  const worst = new Map<number, number>();
  for (const { call, startMs } of served) {
    if (call.user === "flood") continue;
    const at = Math.floor(call.atMs / windowMs) * windowMs;
    worst.set(at, Math.max(worst.get(at) ?? 0, startMs - call.atMs));
  }
  return [...worst].sort((a, b) => a[0] - b[0]);
}

function floodChart(): {
  readonly chart: Chart;
  readonly worstMs: readonly number[];
  readonly serviceMs: number;
} {
  const calls = floodCalls();
  const shown = [SCHEDULERS[0], SCHEDULERS[2]].map(({ name, of }) => ({
    name,
    worst: worstWaits(of, calls),
  }));
  const largest = Math.max(...calls.map(({ actual }) => actual));
  return {
    chart: {
      title: "The longest wait of twenty who chat; from 60 s on somebody floods with documents",
      x: "seconds",
      y: "longest wait in five seconds, s",
      isLogarithmic: true,
      points: shown.flatMap(({ name, worst }) =>
        worst.map(([atMs, waitMs]) => ({
          panel: "",
          series: name,
          x: atMs / SECOND_MS,
          y: waitMs / SECOND_MS,
        })),
      ),
    },
    worstMs: shown.map(({ worst }) => Math.max(...worst.map(([, waitMs]) => waitMs))),
    serviceMs: (largest / (FLOOD.speed / PLACES)) * SECOND_MS,
  };
}

installPeers((message) => process.stderr.write(`${message}\n`));
const all = TRACES.map((trace) => ({ ...trace, results: traceRows(trace.name, trace.windowMs) }));
const flood = floodChart();
writeFileSync(join(DOCS, "fairness-service.svg"), await chartSvg(serviceChart(all[0].results)));
writeFileSync(join(DOCS, "fairness-flood.svg"), await chartSvg(flood.chart));
const tables = all.map(
  ({ name, what, windowMs, results }) => `**${name}** (${what}), windows of ${windowMs / SECOND_MS} s:

| | largest difference | mean difference | Jain's index | served in all |
|---|---|---|---|---|
${results.map(({ scheduler, cells }) => `| ${scheduler} | ${cells} |`).join("\n")}
`,
);
writeFileSync(
  join(DOCS, "fairness.md"),
  `# How fair the waiting room is

Written by \`node scripts/run.mjs fairness\`; do not edit. Simulated on recorded arrivals, hours of them in seconds, by the code that decides in the gateway.
\`test/simulation\` and \`test/core/fairness\` hold what is said here; the bound itself is in the docstring of \`WaitingRoom\`.

![What the busiest users are given](fairness-service.svg)

## Recorded arrivals

A server with ${PLACES} places that can serve half of what arrives. Service is in weighted model tokens a second (input + 2 × output). The *difference* is between the most and the least
served of the users who wait during all of a window: 0 is perfect. Output lengths are guessed (the mean so far) and corrected when a call ends; in the last row they are known.

${tables.join("\n")}
The paper whose scheme this is (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024) reports for the arena trace, on a real server with another shape: first come first served
760 and 434, least counter without lift 750 and 324, theirs 368 and 252, with known lengths 329 and 228, all at about 778 tokens a second; refusing by requests a minute 144 and 84, at 340.

## A flood

Twenty users send two short chats a second each; after a minute another one sends fifty documents of 50,000 model tokens a second, twenty-five times what the server can do in all.

![The waits of twenty who chat](fairness-flood.svg)

The longest that a chat waits: ${(flood.worstMs[0] / SECOND_MS).toFixed(1)} s if first come is first served, ${(flood.worstMs[1] / SECOND_MS).toFixed(1)} s in Sluice's waiting room. The longest document occupies its place for ${(flood.serviceMs / SECOND_MS).toFixed(1)} s, which is the bound of Q3.

End to end, through gateways with real connections and a provider that enforces its limits: \`test/e2e/flood.test.ts\`.
`,
);
