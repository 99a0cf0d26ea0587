import { fileURLToPath } from "node:url";
import type { StreamResult } from "../programs/stream-client.ts";
import { type PinnedProcess, SUPPORT_CORE, startPinned } from "./pinned-process.ts";

const program = (name: string) => fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url));

/** Node without the notes on features that are new in it. */
export const NODE = [process.execPath, "--disable-warning=ExperimentalWarning"];

export interface Started {
  readonly port: number;
  readonly process: PinnedProcess;
}

/** Starts a program that says `READY PORT`. */
export async function startReady(core: number, command: readonly string[]): Promise<Started> {
  const process = startPinned(core, command);
  const [, port] = await process.output(/READY (\d+)\n/);
  return { port: Number(port), process };
}

/** A provider of paced streams, on the support core. */
export function startStreamProvider(chunksPerSecond: number, streamSeconds: number): Promise<Started> {
  return startReady(SUPPORT_CORE, [
    ...NODE,
    program("stream-provider"),
    String(chunksPerSecond),
    String(streamSeconds),
  ]);
}

export interface StreamMeasurement extends StreamResult {
  /** User and system CPU time of the program under test while measuring; 0 without one. */
  readonly cpuMs: number;
}

export async function runStreams(
  port: number,
  options: { readonly streams: number; readonly warmSeconds: number; readonly measuredSeconds: number },
  underTest: PinnedProcess | undefined,
): Promise<StreamMeasurement> {
  const { streams, warmSeconds, measuredSeconds } = options;
  const client = startPinned(SUPPORT_CORE, [
    ...NODE,
    program("stream-client"),
    ...[port, streams, warmSeconds, measuredSeconds].map(String),
  ]);
  await client.output(/BEGIN\n/);
  const before = underTest?.cpuMs() ?? 0;
  await client.output(/END\n/);
  const after = underTest?.cpuMs() ?? 0;
  const [, json] = await client.output(/RESULT (.*)\n/);
  await client.exited();
  const result = JSON.parse(json) as StreamResult;
  if (result.lost > 0) throw new Error(`${result.lost} of ${streams} streams were lost on port ${port}`);
  return { ...result, cpuMs: after - before };
}
