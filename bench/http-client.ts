/**
 * What the way up costs: the same bare proxy on undici and on the gateway's own client, beside nginx's `proxy_pass`. Load as in `proxy.ts`: 2 kB each way, 64 kept connections.
 */
import { fileURLToPath } from "node:url";
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import { type Candidate, startBareProxy } from "./support/candidates.ts";
import { chatAnswerBody } from "./support/chat-call.ts";
import { requireTools } from "./support/debian-tool.ts";
import { startNginxProvider, startNginxProxy } from "./support/nginx.ts";
import { PROGRAM_CORE, SUPPORT_CORE } from "./support/pinned-process.ts";
import { median, medianRatio, note, spread } from "./support/rounds.ts";
import { NODE, startReady } from "./support/stream-load.ts";
import { runWrk } from "./support/wrk-load.ts";

const CONNECTIONS = 64;
/** Until V8 has optimised what runs hot. */
const WARM_SECONDS = 2;
const PEER = "nginx proxy_pass";

async function startAll(providerPort: number): Promise<ReadonlyMap<string, Candidate>> {
  const program = fileURLToPath(new URL("programs/own-client-proxy.ts", import.meta.url));
  const options = { buffering: true, idleConnectionsMax: CONNECTIONS * 2 };
  return new Map<string, Candidate>([
    [PEER, await startNginxProxy(PROGRAM_CORE, providerPort, options)],
    ["bare node (http, undici)", await startBareProxy(providerPort)],
    [
      "bare node (http, own client)",
      await startReady(PROGRAM_CORE, [...NODE, program, String(providerPort)]),
    ],
  ]);
}

async function run({ rounds, seconds, progress }: RunOptions): Promise<readonly Figure[]> {
  requireTools("nginx", "wrk", "taskset");
  const provider = await startNginxProvider(SUPPORT_CORE, chatAnswerBody());
  const candidates = await startAll(provider.port);
  const cpuUs = new Map<string, number[]>();
  try {
    for (const { port } of candidates.values())
      await runWrk({ port, seconds: WARM_SECONDS, connections: CONNECTIONS });
    for (let round = 1; round <= rounds; round++) {
      for (const [name, { port, process }] of candidates) {
        progress(`round ${round} of ${rounds}: ${name}`);
        const beforeMs = process.cpuMs();
        const { requests } = await runWrk({ port, seconds, connections: CONNECTIONS });
        note(cpuUs, name, ((process.cpuMs() - beforeMs) * 1_000) / requests);
      }
    }
  } finally {
    for (const { process } of [...candidates.values(), provider]) await process.stop();
  }
  return [...cpuUs].flatMap(([name, each]) => {
    const common = {
      unit: "µs",
      ...(name !== PEER && { peer: PEER, ratio: medianRatio(each, cpuUs.get(PEER) ?? []) }),
    } as const;
    return [
      { ...common, name: `${name}, CPU per request`, value: median(each), spread: spread(each) },
      { name: `${name}, in the quietest round`, value: Math.min(...each), unit: "µs" },
    ];
  });
}

export const httpClient: Benchmark = { name: "http-client", run };
