import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { chatRequestBody, KEYS, keyOf } from "./chat-call.ts";
import { SUPPORT_CORE, startPinned } from "./pinned-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

export interface LoadResult {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface LoadOptions {
  readonly port: number;
  readonly seconds: number;
  readonly connections: number;
  /** How long a connection rests between an answer and its next call, on average; 0 for none. */
  readonly pauseMs?: number;
  /** Added to every request. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Requests are formatted once: a request costs wrk a table look-up, so that one core can feed the fastest peer. */
function script(headers: Readonly<Record<string, string>>, pauseMs: number): string {
  const keys = Array.from({ length: KEYS }, (_, index) => JSON.stringify(keyOf(index))).join(",");
  const extra = Object.entries(headers).map(([name, value]) => `h[${JSON.stringify(name)}] = [[${value}]]`);
  return `
    local keys = {${keys}}
    local requests = {}
    local at = 0
    function init(args)
      for i, key in ipairs(keys) do
        local h = {}
        h["Content-Type"] = "application/json"
        h["Accept"] = "application/json"
        h["User-Agent"] = "OpenAI/JS 6.0.0"
        h["Authorization"] = "Bearer " .. key
        ${extra.join("\n        ")}
        requests[i] = wrk.format("POST", "/v1/chat/completions", h, [[${chatRequestBody()}]])
      end
    end
    function request()
      at = at % #requests + 1
      return requests[at]
    end
    ${pauseMs === 0 ? "" : `function delay() return math.random(0, ${2 * pauseMs}) end`}
    function done(summary, latency)
      local e = summary.errors
      print(string.format(
        'RESULT {"requests":%d,"durationUs":%d,"p50Us":%d,"p99Us":%d,"errors":%d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
    end`;
}

/** Posts chat completion calls over kept connections, each connection one call after the other, rotating over the keys. Throws when any call failed. */
export async function runWrk(options: LoadOptions): Promise<LoadResult> {
  const file = join(temporaryDirectory("wrk"), "load.lua");
  writeFileSync(file, script(options.headers ?? {}, options.pauseMs ?? 0));
  const wrk = startPinned(SUPPORT_CORE, [
    "wrk",
    "--threads=1",
    // A slow answer is a latency, not a failure: peers take seconds for one while they warm up.
    "--timeout=30s",
    `--connections=${options.connections}`,
    `--duration=${options.seconds}s`,
    `--script=${file}`,
    `http://127.0.0.1:${options.port}`,
  ]);
  const [, json] = await wrk.output(/RESULT (.*)\n/);
  await wrk.exited();
  const { requests, durationUs, p50Us, p99Us, errors } = JSON.parse(json) as Record<string, number>;
  if (errors > 0) throw new Error(`${errors} of ${requests} calls failed on port ${options.port}`);
  if (requests === 0) throw new Error(`no call was answered on port ${options.port}`);
  return {
    requests,
    requestsPerSecond: (requests / durationUs) * 1e6,
    p50Ms: p50Us / 1e3,
    p99Ms: p99Us / 1e3,
  };
}
