/**
 * What a stream costs that passes through: 500 streams at once, each at 50 chunks a second of some 320 bytes, usage metered. The proxy is alone on one
 * core, the provider and the client share the other.
 *
 * CPU per chunk is user and system time of the proxy's process over the chunks that arrived, beside nginx with `proxy_buffering off`. Latency is from the
 * moment the provider writes a chunk, which stands in the chunk, until the client has read it; added latency is what the 99th percentile is above that of a
 * client connected to the provider itself in the same round. Each candidate is measured in the steady state, with all streams open.
 */
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import { type Candidate, startBareProxy } from "./support/candidates.ts";
import { requireTools } from "./support/debian-tool.ts";
import { startNginxProxy } from "./support/nginx.ts";
import { PROGRAM_CORE } from "./support/pinned-process.ts";
import { median, medianRatio, note, spread } from "./support/rounds.ts";
import { embeddedStore, startSluice } from "./support/sluice.ts";
import { runStreams, startStreamProvider } from "./support/stream-load.ts";

const STREAMS = 500;
const CHUNKS_PER_SECOND = 50;
/** Longer than any measurement: streams are cut by the client when it has seen enough. */
const STREAM_SECONDS = 60;
/** Between the last stream's start and the measurement: V8 has optimised what runs hot after some ten thousand chunks. */
const WARM_SECONDS = 1;

const PEER = "nginx, unbuffered";
const SLUICE = "sluice, embedded";
const CPU_RATIO_MAX = 2.2;
const ADDED_P99_MS_MAX = 5;
/** A proxy that falls behind reads several chunks at once, which is cheaper: its CPU per chunk says nothing then. In %. */
const ARRIVED_MIN = 98;

async function run({ rounds, seconds, progress }: RunOptions): Promise<readonly Figure[]> {
  requireTools("nginx", "taskset");
  const provider = await startStreamProvider(CHUNKS_PER_SECOND, STREAM_SECONDS);
  const options = { streams: STREAMS, warmSeconds: WARM_SECONDS, measuredSeconds: seconds };
  const starts: ReadonlyMap<string, () => Promise<Candidate>> = new Map([
    [
      PEER,
      () => startNginxProxy(PROGRAM_CORE, provider.port, { buffering: false, idleConnectionsMax: STREAMS }),
    ],
    ["bare node (http, undici)", () => startBareProxy(provider.port)],
    [SLUICE, () => startSluice(PROGRAM_CORE, provider.port, embeddedStore())],
  ]);
  const cpuUs = new Map<string, number[]>();
  const addedP99Ms = new Map<string, number[]>();
  const directP99Ms: number[] = [];
  const shares = new Map<string, number[]>();
  try {
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}: without a proxy`);
      const direct = await runStreams(provider.port, options, undefined);
      directP99Ms.push(direct.p99Ms);
      for (const [name, start] of starts) {
        progress(`round ${round} of ${rounds}: ${name}`);
        const { port, process } = await start();
        const result = await runStreams(port, options, process).finally(() => process.stop());
        note(cpuUs, name, (result.cpuMs * 1_000) / result.chunks);
        note(addedP99Ms, name, result.p99Ms - direct.p99Ms);
        note(shares, name, (result.chunks / result.seconds / (STREAMS * CHUNKS_PER_SECOND)) * 100);
      }
    }
  } finally {
    await provider.process.stop();
  }
  const figures = [...starts.keys()].flatMap((name) => figuresOf(name, cpuUs, addedP99Ms, shares));
  return [
    ...figures,
    {
      name: "99th percentile without a proxy",
      value: median(directP99Ms),
      unit: "ms",
      spread: spread(directP99Ms),
    },
  ];
}

function figuresOf(
  name: string,
  cpuUs: ReadonlyMap<string, readonly number[]>,
  addedP99Ms: ReadonlyMap<string, readonly number[]>,
  shares: ReadonlyMap<string, readonly number[]>,
): readonly Figure[] {
  const cpu = cpuUs.get(name) ?? [];
  const added = addedP99Ms.get(name) ?? [];
  const isSluice = name === SLUICE;
  const arrived = median(shares.get(name) ?? []);
  const isBehind = arrived < ARRIVED_MIN || median(shares.get(PEER) ?? []) < ARRIVED_MIN;
  const reason = isBehind ? "fell behind" : undefined;
  return [
    {
      name: `${name}, CPU per chunk`,
      value: median(cpu),
      unit: "µs",
      spread: spread(cpu),
      void: reason,
      ...(name !== PEER && { peer: PEER, ratio: medianRatio(cpu, cpuUs.get(PEER) ?? []) }),
      ...(isSluice && { goal: { on: "ratio", kind: "at most", bound: CPU_RATIO_MAX } as const }),
    },
    {
      name: `${name}, added 99th percentile`,
      value: median(added),
      unit: "ms",
      void: reason,
      ...(isSluice && { goal: { on: "value", kind: "at most", bound: ADDED_P99_MS_MAX } as const }),
    },
    // Below 100 the proxy could not keep up, and its latencies only say so.
    { name: `${name}, chunks that arrived, of those due`, value: arrived, unit: "%" },
  ];
}

export const streams: Benchmark = { name: "streams", run };
