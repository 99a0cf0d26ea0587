import { join } from "node:path";
import { modelName } from "../core/policy/call-target.ts";
import type { Caller, LimitRule } from "../core/policy/policy.ts";
import { addressMatcher } from "./address-matcher.ts";
import { parseWebhookUrl } from "./alert-schema.ts";
import { durationMs, plansOf, roomOf, rulesOf } from "./compile-limits.ts";
import { compilePrices } from "./compile-prices.ts";
import { parseBaseUrl, parseJobs, parseListen, parseStore, type StoreSettings } from "./connections.ts";
import type { FileShape } from "./file-schema.ts";
import { keyHash } from "./key-hash.ts";
import type { Problem } from "./problem.ts";
import { isPublicAddress } from "./public-address.ts";
import { Secret } from "./secret.ts";
import type {
  AlertWebhookSettings,
  IdentitySettings,
  ProviderSettings,
  Settings,
  TrustedHeaders,
} from "./settings.ts";
import type { Environment } from "./yaml-source.ts";

/** What is known of where a configuration comes from. */
export interface Origin {
  /** For people. */
  readonly name: string;
  /** Relative directories of the configuration count from here. */
  readonly directory: string;
  readonly storeDefault: string;
}

const OFFICIAL_URLS: Readonly<Record<string, string>> = {
  openai: "https://api.openai.com",
  anthropic: "https://api.anthropic.com",
};
const KEY_VARIABLES: Readonly<Record<string, string>> = {
  openai: "OPENAI_API_KEY",
  anthropic: "ANTHROPIC_API_KEY",
};

/** Unwraps what the schema has checked with the same function. */
function checked<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("assertion failed: the schema lets only valid values through");
  return value;
}

/** A provider without accounts has one, with the provider's usual variable as its key where it is set. */
function accountShapes(name: string, accounts: ProviderShape["accounts"], environment: Environment) {
  if (accounts !== undefined) return accounts;
  const key = environment[KEY_VARIABLES[name] ?? ""] || undefined;
  return [{ name: "main", key, limits: [] }];
}

type ProviderShape = NonNullable<FileShape["providers"]>[string];

function compileProviders(file: FileShape, environment: Environment) {
  const shapes: Readonly<Record<string, ProviderShape>> = file.providers ?? { openai: {}, anthropic: {} };
  const providers = new Map<string, ProviderSettings>();
  const accountLimits = new Map<string, readonly LimitRule[]>();
  for (const [name, shape] of Object.entries(shapes)) {
    const accounts = accountShapes(name, shape.accounts, environment).map((account) => {
      const id = `${name}/${account.name}`;
      accountLimits.set(id, rulesOf(account.limits, "account", file));
      return { id, name: account.name, key: account.key === undefined ? undefined : new Secret(account.key) };
    });
    providers.set(name, {
      name,
      format: shape.format ?? (name === "anthropic" ? "anthropic" : "openai"),
      baseUrl: checked(parseBaseUrl(shape.base_url ?? checked(OFFICIAL_URLS[name]))),
      accounts,
    });
  }
  return { providers, accountLimits };
}

function compileTrustedHeaders(shape: FileShape["identity"]["trusted_headers"]): TrustedHeaders | undefined {
  if (shape === undefined) return undefined;
  return {
    isTrusted: addressMatcher(shape.from),
    user: shape.user.toLowerCase(),
    plan: shape.plan?.toLowerCase(),
    team: shape.team?.toLowerCase(),
    feature: shape.feature?.toLowerCase(),
  };
}

function compileIdentity(file: FileShape, plans: Settings["policy"]["plans"]): IdentitySettings {
  const { identity } = file;
  const onlyPlan = plans.size === 1 ? [...plans.keys()][0] : undefined;
  const defaultPlan = identity.default_plan ?? onlyPlan;
  const keys = new Map<string, Caller>();
  for (const shape of identity.keys) {
    const hash = shape.key_sha256 ?? keyHash(checked(shape.key));
    keys.set(hash, {
      user: shape.user,
      plan: checked(shape.plan ?? defaultPlan),
      key: shape.name ?? shape.user,
      team: shape.team,
      feature: shape.feature,
      priority: shape.priority,
    });
  }
  return {
    keys,
    trustedHeaders: compileTrustedHeaders(identity.trusted_headers),
    defaultPlan,
    anonymousPlan: identity.anonymous === "reject" ? undefined : identity.anonymous,
  };
}

function compileAlertWebhook({ alerts: { webhook } }: FileShape): AlertWebhookSettings | undefined {
  if (webhook === undefined) return undefined;
  const url = checked(parseWebhookUrl(webhook.url));
  const isListed = addressMatcher(webhook.allow_addresses);
  return {
    url: new Secret(url.href),
    host: url.host,
    secret: new Secret(webhook.secret),
    isAllowed: (address) => isListed(address) || (address !== undefined && isPublicAddress(address)),
  };
}

/** Beside the store, where that is a folder. */
const pricesFile = (store: StoreSettings, origin: Origin): string =>
  join(store.kind === "embedded" ? store.directory : join(origin.directory, ".sluice"), "prices.json");

/** Every model that the file means one of, without patterns. */
function modelNames(file: FileShape): ReadonlySet<string> {
  const accounts = Object.values(file.providers ?? {}).flatMap((provider) => provider.accounts ?? []);
  const limits = [
    ...file.limits,
    ...Object.values(file.plans ?? {}).flatMap((plan) => plan.limits),
    ...accounts.flatMap((account) => account.limits),
  ];
  const names = [
    ...Object.values(file.aliases),
    ...file.prices.map(({ model }) => model),
    ...limits.flatMap(({ match }) => match.model ?? []),
  ];
  return new Set(names.filter((name) => !name.includes("*")).map(modelName));
}

/** `file` has passed the schema and all checks. */
export function compileSettings(
  file: FileShape,
  origin: Origin,
  environment: Environment,
  warnings: readonly Problem[],
): Settings {
  const plans = plansOf(file);
  const { providers, accountLimits } = compileProviders(file, environment);
  const { bounds } = file;
  const store = checked(parseStore(file.store ?? origin.storeDefault, origin.directory));
  return {
    origin: origin.name,
    listen: checked(parseListen(file.listen)),
    admin: file.admin === "off" ? undefined : checked(parseListen(file.admin)),
    store,
    jobs: checked(parseJobs(file.jobs)),
    providers,
    policy: {
      plans,
      limits: rulesOf(file.limits, "shared", file),
      accountLimits,
      outputTokensDefault: file.defaults.output_tokens,
      room: roomOf(file),
      models: modelNames(file),
    },
    prices: compilePrices(file),
    pricesFile: pricesFile(store, origin),
    identity: compileIdentity(file, plans),
    aliases: new Map(Object.entries(file.aliases)),
    onDisconnect: file.on_disconnect,
    alertWebhook: compileAlertWebhook(file),
    bounds: {
      bodyBytesMax: bounds.body_bytes_max,
      providerTimeoutMs: durationMs(bounds.provider_timeout),
      shutdownTimeoutMs: durationMs(bounds.shutdown_timeout),
      disconnectDrainMsMax: durationMs(bounds.disconnect_drain_max),
    },
    warnings,
  };
}
