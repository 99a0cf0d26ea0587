import type { Secret } from "./config/secret.ts";
import type { ProviderSettings, Settings } from "./config/settings.ts";
import { PRIORITIES } from "./core/fairness/permit.ts";
import { CompiledPolicy, metersCost } from "./core/policy/compiled-policy.ts";
import { PriceBook, type PriceSource } from "./core/price/price-book.ts";
import { Engine } from "./engine/engine.ts";
import { Gateway } from "./gateway/gateway.ts";
import type { GatewayBounds, GatewaySettings, ProviderRoute } from "./gateway/gateway-settings.ts";
import type { CalibrationStore } from "./ports/calibration-store.ts";
import { systemClock } from "./ports/clock.ts";
import type { LimitStore } from "./ports/limit-store.ts";
import type { ProviderFormat } from "./ports/provider-format.ts";
import type { Telemetry } from "./ports/telemetry.ts";
import { GenaiPriceCatalogue } from "./prices/genai-price-catalogue.ts";
import { LoudPrices } from "./prices/loud-prices.ts";
import { anthropicFormat } from "./providers/anthropic/format.ts";
import { openaiFormat } from "./providers/openai/format.ts";
import { MemoryLimitStore } from "./stores/memory/memory-limit-store.ts";
import type { PrometheusTelemetry } from "./telemetry/prometheus-telemetry.ts";
import { AlertWebhook } from "./webhooks/alert-webhook.ts";
import type { WebhookTarget } from "./webhooks/post-webhook.ts";

/** Every way in which providers speak. */
export const PROVIDER_FORMATS: Readonly<Record<ProviderSettings["format"], ProviderFormat>> = {
  openai: openaiFormat,
  anthropic: anthropicFormat,
};

/** What has no place in the file because nobody needs to change it. */
const FIXED_BOUNDS = {
  /** The largest file that OpenAI takes. */
  uploadBytesMax: 512 * 1_048_576,
  /** A key, a trace and a few dozen headers fit many times over. */
  headerBytesMax: 32 * 1_024,
  /** About 50 kB each at the most while they are idle. */
  connectionsMax: 20_000,
  /** For the head and a body of the largest size over a slow line. */
  requestTimeoutMs: 60_000,
  connectTimeoutMs: 5_000,
} as const;

/** For what happens on a connection beside waiting for the provider. */
const STALLED_MARGIN_MS = 60_000;

export interface RunningGateway {
  readonly url: string;
  readonly telemetry: PrometheusTelemetry;
  /** From now on these apply; addresses and the store stay until the next start. */
  useSettings(settings: Settings): void;
  /** Drains, settles, and gives everything back (X6). */
  close(): Promise<void>;
}

/** What all stores offer. */
type Store = LimitStore & { readonly calibrations: CalibrationStore };

async function openStore(settings: Settings, telemetry: Telemetry): Promise<Store> {
  const { store } = settings;
  switch (store.kind) {
    case "memory":
      return new MemoryLimitStore();
    // Loaded where they are used: a start with another store need not wait for them.
    case "embedded": {
      const { EmbeddedLimitStore } = await import("./stores/embedded/embedded-limit-store.ts");
      return new EmbeddedLimitStore({ directory: store.directory, durability: store.durability, telemetry });
    }
    case "redis": {
      const { openRedisLimitStore } = await import("./stores/redis/open-redis-limit-store.ts");
      return openRedisLimitStore({ url: store.url.reveal(), telemetry });
    }
  }
}

function providerRoute({ name, format, baseUrl, accounts }: ProviderSettings): ProviderRoute {
  const url = new URL(baseUrl);
  const [account] = accounts;
  const key: Secret | undefined = account.key;
  return {
    name,
    format: PROVIDER_FORMATS[format],
    origin: url.origin,
    basePath: url.pathname.replace(/\/$/, ""),
    account: { name: account.name, key: key?.reveal() },
  };
}

/**
 * The prices of a configuration. Where limits count money, the catalogue is loaded (30 ms) once everything else that is under way has been done; a call that comes
 * earlier loads it. Elsewhere nobody asks, and nothing is loaded.
 */
function pricesOf(settings: Settings, telemetry: Telemetry, named: Set<string>): PriceSource {
  const catalogue = new GenaiPriceCatalogue({
    providers: [...settings.providers.values()],
    file: settings.pricesFile,
    telemetry,
  });
  const book = new PriceBook(settings.prices, (provider, model) => catalogue.historyOf(provider, model));
  if (metersCost(settings.policy)) setImmediate(() => catalogue.load());
  return new LoudPrices(book, telemetry, named);
}

function alertTarget({ alertWebhook }: Settings): WebhookTarget | undefined {
  if (alertWebhook === undefined) return undefined;
  const { url, secret, isAllowed } = alertWebhook;
  return { url: url.reveal(), secret: secret.reveal(), isAllowed };
}

const longestWaitMs = ({ policy }: Settings): number =>
  Math.max(0, ...[...policy.plans.values()].map(({ maxWaitMs }) => maxWaitMs));

function gatewaySettings(
  settings: Settings,
  prices: PriceSource,
  overrides: Partial<GatewayBounds>,
): GatewaySettings {
  const { identity, bounds } = settings;
  const trusted = identity.trustedHeaders;
  const names = trusted === undefined ? [] : [trusted.user, trusted.plan, trusted.team, trusted.feature];
  return {
    policy: new CompiledPolicy(settings.policy, prices),
    providers: new Map([...settings.providers].map(([name, provider]) => [name, providerRoute(provider)])),
    formats: Object.values(PROVIDER_FORMATS),
    modelAliases: settings.aliases,
    identification: {
      callersByKeyHash: identity.keys,
      trustedHeaders: trusted,
      identityHeaders: new Set(names.filter((name) => name !== undefined)),
      defaultPlan: identity.defaultPlan,
      plans: new Set(settings.policy.plans.keys()),
      anonymousPlan: identity.anonymousPlan,
    },
    onDisconnect: settings.onDisconnect,
    bounds: {
      ...FIXED_BOUNDS,
      bodyBytesMax: bounds.bodyBytesMax,
      answerTimeoutMs: bounds.providerTimeoutMs,
      idleTimeoutMs: bounds.providerTimeoutMs,
      // A provider may be silent for long, and so may a wait, so only longer silence is the client's.
      stalledMsMax: Math.max(bounds.providerTimeoutMs, longestWaitMs(settings)) + STALLED_MARGIN_MS,
      disconnectDrainMsMax: bounds.disconnectDrainMsMax,
      drainTimeoutMs: bounds.shutdownTimeoutMs,
      ...overrides,
    },
  };
}

/**
 * Starts a gateway: the only place that picks implementations. Rejects with an `OperationalError` where the embedded store cannot be opened, and
 * with the system's error where the port cannot be had; Redis being away is no reason not to start. `bounds` replaces some of those that the
 * file has no key for.
 */
export async function startGateway(
  settings: Settings,
  telemetry: PrometheusTelemetry,
  bounds: Partial<GatewayBounds> = {},
): Promise<RunningGateway> {
  const store = await openStore(settings, telemetry);
  const fallback = new MemoryLimitStore();
  // Models whose price nobody knows are named once, whatever the configuration changes into.
  const named = new Set<string>();
  const compile = (next: Settings) => gatewaySettings(next, pricesOf(next, telemetry, named), bounds);
  const compiled = compile(settings);
  const alerts = new AlertWebhook(alertTarget(settings), telemetry, systemClock);
  const engine = new Engine({
    store,
    fallback,
    policy: compiled.policy,
    telemetry,
    clock: systemClock,
    calibrations: store.calibrations,
    alerts,
  });
  telemetry.gauge(
    "sluice_gateways",
    "Gateways that share the store, this one included.",
    () => engine.gateways,
  );
  telemetry.labelledGauge(
    "sluice_waiting",
    "Calls of this gateway that wait for their turn.",
    "priority",
    () => {
      const lengths = engine.waitingLengths();
      return PRIORITIES.map((priority) => [priority, lengths.get(priority) ?? 0] as const);
    },
  );
  await engine.start();
  const gateway = new Gateway({ settings: compiled, engine, telemetry, metrics: telemetry });
  const close = async () => {
    await gateway.close();
    await engine.stop();
    await store.close();
    await fallback.close();
  };
  try {
    const { host, port } = await gateway.listen(settings.listen.host, settings.listen.port);
    const shown = host.includes(":") ? `[${host}]` : host;
    return {
      url: `http://${shown}:${port}`,
      telemetry,
      useSettings: (next) => {
        alerts.useTarget(alertTarget(next));
        gateway.useSettings(compile(next));
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
