/** Writes docs/fairness.md and its pictures from simulations on recorded and adversarial arrivals: `node scripts/run.mjs fairness`. The same every time. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { adversaryTable, arenaTable, floodTable, recordedTable } from "../test/support/fairness-tables.ts";
import { fullTraces } from "../test/support/output-traces.ts";
import { arenaPlot, comebackPlot, floodPlot } from "./support/fairness-plots.ts";
import { drawChart, installPeers } from "./support/peers.ts";

if (fullTraces().size === 0) throw new Error("docs/fairness.md needs the recorded traces in ../shared/data");
installPeers((message) => process.stderr.write(`${message}\n`));

const DOCS = join(import.meta.dirname, "..", "docs");

async function picture(name: string, spec: object): Promise<void> {
  writeFileSync(join(DOCS, `${name}.svg`), `${await drawChart(spec)}\n`);
}

await picture("fairness-arena", arenaPlot());
await picture("fairness-flood", floodPlot());
await picture("fairness-comeback", comebackPlot());

const page = `# How fair the waiting room is

Written by \`node scripts/run.mjs fairness\`; do not edit.

The waiting room (\`src/core/fairness\`) in front of a simulated server with a few places, each call on one place until it is done. Beside it, two others that fill the same
server:

- **First come first served**: what a queue does.
- **Least counter**: whoever was served least since the beginning. No *lift*: who was away for a while is not brought up to the others.
- **Sluice**: what the product does. It thinks that an answer will be as long as answers were on average so far, and corrects that when the call ends.
- **Sluice, known lengths**: the same, told beforehand how long each answer will be.

Service is counted in weighted model tokens, input + 2 × output. The promises are [Q1 to Q3, and Q8](promises.md); tests hold them (\`test/simulation\`, \`test/core/fairness\`; end to end, through
gateways and a provider that enforces its limits, \`test/e2e/flood.test.ts\`). The bound itself is in the docstring of \`WaitingRoom\`.

## One user floods, twenty chat

![How long those who chat wait](fairness-flood.svg)

One sends 50 documents of 50,000 model tokens a second, 25 times what the server can do. Twenty send two calls of 200 a second each, which is inside their fair share. Their waits:

${floodTable()}

A place is never taken from a document that is being read, so somebody may have to wait until one of them is done: one call's service time, and no more (Q3). Least counter is a little better here, and
the next section but one shows what it costs.

## Beside the paper

The order of service is the Virtual Token Counter of Sheng et al., *Fairness in Serving Large Language Models* (OSDI 2024). They measured four schedulers on a GPU, with a trace of 27 clients of LMSYS
Chatbot Arena. This is the same trace on a simulated server that does as many model tokens a second, and the same measure: how much less than the most served client the others get, in each minute, summed
over all of them, in weighted model tokens a second.

![Differences of service over time](fairness-arena.svg)

${arenaTable()}

The paper's are measurements of another program, ours are a simulation: what can be compared is how they lie to each other. That first come first served comes out as it does there says
that the simulated server is like the real one.

## Somebody comes back

![What each gets when somebody comes back](fairness-comeback.svg)

Without a lift, whoever was away has saved up, and for a while everybody else gets nothing.

## Those who would like more than their share

Three users who each could fill the server by themselves, and a fourth. *Mean difference* of service between those who wait all the time, in windows of ten seconds, of 10,000 weighted model
tokens a second in all; and what the fourth gets while it waits, as a multiple of what each of the others gets.

${adversaryTable()}

Answers that are much longer than expected are the weak point: what they took is only known when they end, so their sender has taken several places by then, and pays for it afterwards. Over any ten seconds that
is a large difference, over the whole time it is not. In the product the expectation is learned by model, feature and user ([decision 10](decisions/0010-what-estimates-learn.md)), which is
nearer to the fourth column.

## On recorded arrivals

Recorded traces at 1.25 times what the server can do, differences over a minute (or a twentieth of the trace, where that is shorter) between those who wait all the time. The Azure traces name no users: thirty
are drawn for them, as unlike each other as Zipf's law has it. Throughput beside first come first served: no capacity is left idle (Q8); a little more is the tail, in which the last users' long calls run alone.

${recordedTable()}
`;
writeFileSync(join(DOCS, "fairness.md"), page);
