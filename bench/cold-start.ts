/**
 * How long until Sluice answers: from the start of `sluice serve` on the embedded store, with a thousand keys in its configuration, to the first answered
 * call through it, on one core. TypeScript is run as it is, as in a clone; the files are in the system's cache after the first round, as after an
 * installation, and so is what Node has compiled, which `npm start` keeps.
 */
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import { chatAnswerBody, chatRequestBody, keyOf } from "./support/chat-call.ts";
import { requireTools } from "./support/debian-tool.ts";
import { startNginxProvider } from "./support/nginx.ts";
import { PROGRAM_CORE, SUPPORT_CORE } from "./support/pinned-process.ts";
import { median, spread } from "./support/rounds.ts";
import { embeddedStore, startSluice } from "./support/sluice.ts";

const SECONDS_MAX = 1;

async function secondsToFirstAnswer(providerPort: number): Promise<number> {
  const store = embeddedStore();
  const startedMs = performance.now();
  const { port, process } = await startSluice(PROGRAM_CORE, providerPort, store);
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${keyOf(0)}`, "content-type": "application/json" },
      body: chatRequestBody(),
    });
    await answer.text();
    if (!answer.ok) throw new Error(`the first call was answered with ${answer.status}`);
    return (performance.now() - startedMs) / 1_000;
  } finally {
    await process.stop();
  }
}

async function run({ rounds, progress }: RunOptions): Promise<readonly Figure[]> {
  requireTools("nginx", "taskset");
  const provider = await startNginxProvider(SUPPORT_CORE, chatAnswerBody());
  try {
    const seconds: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      progress(`start ${round} of ${rounds}`);
      seconds.push(await secondsToFirstAnswer(provider.port));
    }
    return [
      {
        name: "start to first answered call",
        value: median(seconds),
        unit: "s",
        spread: spread(seconds),
        goal: { on: "value", kind: "at most", bound: SECONDS_MAX },
      },
    ];
  } finally {
    await provider.process.stop();
  }
}

export const coldStart: Benchmark = { name: "cold-start", run };
