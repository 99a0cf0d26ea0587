import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KEYS, keyOf } from "./chat-call.ts";
import { freePort } from "./free-port.ts";
import { type PinnedProcess, startPinned, untilListening } from "./pinned-process.ts";
import { NODE } from "./stream-load.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

export interface SluiceServer {
  readonly port: number;
  readonly process: PinnedProcess;
}

/** Four limits on every user, wide enough that no call is refused: a refusal is cheaper than a call. */
const LIMITS = `
      - { meter: requests, limit: 100000000, per: 1m }
      - { meter: requests, limit: 1000000000, per: 1h }
      - { meter: tokens, limit: 1000000000, per: 1m }
      - { meter: tokens, limit: 100000000000, per: 1h }`;

function configuration(port: number, providerPort: number, store: string): string {
  const keys = Array.from(
    { length: KEYS },
    (_, index) => `    - { key: "${keyOf(index)}", user: "user-${index}", plan: bench }`,
  );
  return `
listen: 127.0.0.1:${port}
store: ${store}
providers:
  openai:
    format: openai
    base_url: http://127.0.0.1:${providerPort}
    accounts: [{ name: main, key: provider-key }]
plans:
  bench:
    when_limited: reject
    limits:${LIMITS}
identity:
  keys:
${keys.join("\n")}
`;
}

/** As scripts/run.mjs sets it. */
const COMPILED = fileURLToPath(new URL("../../node_modules/.cache/sluice-compiled", import.meta.url));
const CLI = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** The store in a configuration's words; an embedded one is in a new temporary directory. */
export const embeddedStore = () => `embedded:${join(temporaryDirectory("store"), "sluice")}`;

/** Sluice as an operator starts it, with a thousand keys on one plan with four limits; resolves when it accepts connections. */
export async function startSluice(core: number, providerPort: number, store: string): Promise<SluiceServer> {
  const port = await freePort();
  const file = join(temporaryDirectory("sluice"), "sluice.yaml");
  writeFileSync(file, configuration(port, providerPort, store));
  const process = startPinned(core, [...NODE, CLI, "serve", "--config", file], {
    NODE_COMPILE_CACHE: COMPILED,
  });
  await untilListening(port, process);
  return { port, process };
}
