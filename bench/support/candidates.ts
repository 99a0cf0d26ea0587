import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";
import { portkeyEntry } from "./peers.ts";
import { type PinnedProcess, PROGRAM_CORE, startPinned, untilListening } from "./pinned-process.ts";
import { NODE, startReady } from "./stream-load.ts";

/** A proxy under test or beside it. */
export interface Candidate {
  readonly port: number;
  readonly process: PinnedProcess;
  readonly headers?: Readonly<Record<string, string>>;
}

export const startBareProxy = (providerPort: number): Promise<Candidate> =>
  startReady(PROGRAM_CORE, [
    ...NODE,
    fileURLToPath(new URL("../bare-proxy.ts", import.meta.url)),
    String(providerPort),
  ]);

/** Portkey's gateway without its console, told by headers to proxy to the provider. */
export async function startPortkey(providerPort: number): Promise<Candidate> {
  const port = await freePort();
  const process = startPinned(PROGRAM_CORE, [...NODE, portkeyEntry(), `--port=${port}`, "--headless"], {
    NODE_ENV: "production",
  });
  await untilListening(port, process);
  return {
    port,
    process,
    headers: {
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `http://127.0.0.1:${providerPort}/v1`,
    },
  };
}
