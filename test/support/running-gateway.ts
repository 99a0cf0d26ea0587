import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { type RunningGateway, startGateway } from "../../src/compose.ts";
import { settingsFromText } from "../../src/config/settings-from-text.ts";
import type { GatewayBounds } from "../../src/gateway/gateway-settings.ts";
import type { Recording } from "../../src/replay-provider/recording.ts";
import { type ReplayProvider, startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { PrometheusTelemetry } from "../../src/telemetry/prometheus-telemetry.ts";

export interface GatewayUnderTest {
  readonly gateway: RunningGateway;
  readonly provider: ReplayProvider;
  readonly url: string;
  /** Every log line so far, as JSON. */
  readonly lines: readonly string[];
  /** As if the file had changed into this. */
  reload(yaml: string): void;
  /** Of `GET /metrics`; 0 where there is no such sample. */
  metric(name: string): Promise<number>;
  close(): Promise<void>;
}

export interface GatewayTestOptions {
  /** The rest of the file: plans, limits, identity … `PROVIDER` stands for the replay provider's URL. */
  readonly yaml: string;
  readonly store?: string;
  readonly recordings?: readonly Recording[];
  /** Shorter times, smaller bounds. */
  readonly bounds?: Partial<GatewayBounds>;
  /** One that several gateways call; it is not closed with them. */
  readonly provider?: ReplayProvider;
}

export const PLANS_AND_KEYS = `
plans:
  free:
    when_limited: reject
    limits:
      - { meter: requests, limit: 10, per: 1m }
      - { meter: requests, limit: 100, per: 1h }
      - { meter: tokens, limit: 1000, per: 1m }
  premium:
    when_limited: reject
    limits:
      - { meter: tokens, limit: 10000, per: 1m }
  unlimited:
    when_limited: reject
    limits:
      - { meter: requests, limit: 1000000, per: 1h }
      - { meter: input_tokens, limit: 1000000000000, per: 1h }
      - { meter: output_tokens, limit: 1000000000000, per: 1h }
      - { meter: tokens, limit: 1000000000000, per: 1h }
identity:
  keys:
    - { key: key-of-alice, user: alice, plan: free }
    - { key: key-of-bob, user: bob, plan: premium }
    - { key: key-of-carol, user: carol, plan: unlimited }
`;

const providers = (url: string) => `
providers:
  openai: { base_url: "${url}", accounts: [{ name: main, key: provider-secret-openai }] }
  anthropic: { base_url: "${url}", accounts: [{ name: main, key: provider-secret-anthropic }] }
`;

/** Several gateways on one store in front of one provider. */
export async function startFleetUnderTest(
  size: number,
  options: Omit<GatewayTestOptions, "provider">,
): Promise<{
  readonly gateways: readonly GatewayUnderTest[];
  readonly provider: ReplayProvider;
  close(): Promise<void>;
}> {
  const provider = await startReplayProvider({ recordings: options.recordings ?? [] });
  const gateways = await Promise.all(
    Array.from({ length: size }, () => startGatewayUnderTest({ ...options, provider })),
  );
  return {
    gateways,
    provider,
    close: async () => {
      await Promise.all(gateways.map((gateway) => gateway.close()));
      await provider.close();
    },
  };
}

/** A gateway in this process in front of a replay provider, on free ports, with its state in a temporary folder. */
export async function startGatewayUnderTest(options: GatewayTestOptions): Promise<GatewayUnderTest> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-e2e-"));
  const provider = options.provider ?? (await startReplayProvider({ recordings: options.recordings ?? [] }));
  const lines: string[] = [];
  const telemetry = new PrometheusTelemetry(
    pino({ level: "info" }, { write: (line: string) => void lines.push(line) }),
  );
  const settingsOf = (yaml: string) =>
    settingsFromText(
      `listen: 127.0.0.1:0\nadmin: "off"\nstore: ${options.store ?? "memory:"}\n${
        yaml.includes("providers:") ? "" : providers(provider.url)
      }${yaml.replaceAll("PROVIDER", provider.url)}`,
      { name: "test.yaml", directory, storeDefault: "memory:" },
      process.env,
    );
  const gateway = await startGateway(settingsOf(options.yaml), telemetry, options.bounds);
  return {
    gateway,
    provider,
    url: gateway.url,
    lines,
    reload: (yaml) => gateway.useSettings(settingsOf(yaml)),
    metric: async (name) => {
      const page = await (await fetch(`${gateway.url}/metrics`)).text();
      const sample = page
        .split("\n")
        .find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
      return Number(sample?.split(" ").at(-1) ?? 0);
    },
    close: async () => {
      await gateway.close();
      if (options.provider === undefined) await provider.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
