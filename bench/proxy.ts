/**
 * What a call costs that passes through: non-streamed chat completions, 2 kB each way, over 64 kept connections, one call after the other on each,
 * rotating over a thousand API keys. The proxy is alone on one core; wrk and the provider (an nginx that answers `return 200`) share the other.
 *
 * CPU per request is user and system time of the proxy's process (for nginx with its worker, for Sluice on Redis without Redis) over the calls
 * answered, at full load, beside nginx's `proxy_pass` with kept connections to the provider. Throughput is what one core answered; latencies are wrk's at that load.
 * Candidates take turns in rounds; each is warmed up before the first.
 */
import type { Benchmark, Figure, RunOptions } from "./benchmark.ts";
import { type Candidate, startBareProxy, startPortkey } from "./support/candidates.ts";
import { chatAnswerBody } from "./support/chat-call.ts";
import { requireTools } from "./support/debian-tool.ts";
import { startNginxProvider, startNginxProxy } from "./support/nginx.ts";
import { installPeers } from "./support/peers.ts";
import { PROGRAM_CORE, SUPPORT_CORE } from "./support/pinned-process.ts";
import { startRedis } from "./support/redis.ts";
import { median, medianRatio, note, spread } from "./support/rounds.ts";
import { embeddedStore, startSluice } from "./support/sluice.ts";
import { runWrk } from "./support/wrk-load.ts";

const CONNECTIONS = 64;
/** Until V8 has optimised what runs hot: the cost of a call still falls by a third between the third second and the tenth. */
const WARM_SECONDS = 10;

const PEER = "nginx proxy_pass";
const CPU_RATIO_MAX: Readonly<Record<string, number>> = { "sluice, embedded": 1.8, "sluice, redis": 2.4 };
const PORTKEY = "portkey gateway";
const PORTKEY_RATIO_MIN = 10;

/** Two figures a round and candidate, and two latencies. */
class Measurements {
  readonly cpuUs = new Map<string, number[]>();
  readonly rate = new Map<string, number[]>();
  readonly p50Ms = new Map<string, number[]>();
  readonly p99Ms = new Map<string, number[]>();

  async take(name: string, { port, process, headers }: Candidate, seconds: number): Promise<void> {
    const beforeMs = process.cpuMs();
    const load = await runWrk({ port, seconds, connections: CONNECTIONS, ...(headers && { headers }) });
    note(this.cpuUs, name, ((process.cpuMs() - beforeMs) * 1_000) / load.requests);
    note(this.rate, name, load.requestsPerSecond);
    note(this.p50Ms, name, load.p50Ms);
    note(this.p99Ms, name, load.p99Ms);
  }

  figures(name: string): readonly Figure[] {
    const of = (all: Map<string, number[]>) => all.get(name) ?? [];
    const cpuRatioMax = CPU_RATIO_MAX[name];
    const isSluice = name.startsWith("sluice");
    const cpu: Figure = {
      name: `${name}, CPU per request`,
      value: median(of(this.cpuUs)),
      unit: "µs",
      spread: spread(of(this.cpuUs)),
      ...(name !== PEER && { peer: PEER, ratio: medianRatio(of(this.cpuUs), this.cpuUs.get(PEER) ?? []) }),
      ...(cpuRatioMax !== undefined && {
        goal: { on: "ratio", kind: "at most", bound: cpuRatioMax } as const,
      }),
    };
    const rate: Figure = {
      name: `${name}, throughput`,
      value: median(of(this.rate)),
      unit: "/s",
      spread: spread(of(this.rate)),
      ...(isSluice && {
        peer: PORTKEY,
        ratio: medianRatio(of(this.rate), this.rate.get(PORTKEY) ?? []),
        goal: { on: "ratio", kind: "at least", bound: PORTKEY_RATIO_MIN } as const,
      }),
    };
    return [
      cpu,
      rate,
      { name: `${name}, median latency`, value: median(of(this.p50Ms)), unit: "ms" },
      { name: `${name}, 99th percentile`, value: median(of(this.p99Ms)), unit: "ms" },
    ];
  }
}

async function startAll(providerPort: number, redisUrl: string): Promise<ReadonlyMap<string, Candidate>> {
  return new Map<string, Candidate>([
    [
      PEER,
      await startNginxProxy(PROGRAM_CORE, providerPort, {
        buffering: true,
        idleConnectionsMax: CONNECTIONS * 2,
      }),
    ],
    ["bare node (http, undici)", await startBareProxy(providerPort)],
    ["sluice, memory", await startSluice(PROGRAM_CORE, providerPort, "memory:")],
    ["sluice, embedded", await startSluice(PROGRAM_CORE, providerPort, embeddedStore())],
    ["sluice, redis", await startSluice(PROGRAM_CORE, providerPort, redisUrl)],
    [PORTKEY, await startPortkey(providerPort)],
  ]);
}

async function run({ rounds, seconds, progress }: RunOptions): Promise<readonly Figure[]> {
  requireTools("nginx", "wrk", "redis-server", "taskset");
  installPeers(progress);
  const provider = await startNginxProvider(SUPPORT_CORE, chatAnswerBody());
  const redis = await startRedis(SUPPORT_CORE);
  const candidates = await startAll(provider.port, redis.url);
  const measurements = new Measurements();
  try {
    for (const [name, { port, headers }] of candidates) {
      progress(`warming up ${name}`);
      await runWrk({ port, seconds: WARM_SECONDS, connections: CONNECTIONS, ...(headers && { headers }) });
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [name, candidate] of candidates) {
        progress(`round ${round} of ${rounds}: ${name}`);
        await measurements.take(name, candidate, seconds);
      }
    }
  } finally {
    for (const { process } of [...candidates.values(), provider, redis]) await process.stop();
  }
  return [...candidates.keys()].flatMap((name) => measurements.figures(name));
}

export const proxy: Benchmark = { name: "proxy", run };
