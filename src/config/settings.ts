import type { PolicySource } from "../core/policy/compiled-policy.ts";
import type { Caller } from "../core/policy/policy.ts";
import type { PriceSettings } from "../core/price/price-book.ts";
import type { AddressMatcher } from "./address-matcher.ts";
import type { JobsSettings, ListenAddress, StoreSettings } from "./connections.ts";
import type { Problem } from "./problem.ts";
import type { Secret } from "./secret.ts";

export interface AccountSettings {
  /** `PROVIDER/ACCOUNT`: what limits are counted per and `policy.accountLimits` is keyed by. */
  readonly id: string;
  readonly name: string;
  /** Absent where the provider wants none. */
  readonly key: Secret | undefined;
}

export interface ProviderSettings {
  readonly name: string;
  readonly format: "openai" | "anthropic";
  /** Without a slash and without `/v1` at the end: the client's path is put behind it. */
  readonly baseUrl: string;
  /** Never empty. */
  readonly accounts: readonly AccountSettings[];
}

/** Names of headers, in lower case, that are believed from some addresses. */
export interface TrustedHeaders {
  readonly isTrusted: AddressMatcher;
  readonly user: string;
  /** May list several names, comma separated (Kong's `x-consumer-groups`): the first that is a plan counts. */
  readonly plan: string | undefined;
  readonly team: string | undefined;
  readonly feature: string | undefined;
}

export interface IdentitySettings {
  /** By the SHA-256 of the key, in hexadecimal (X1). */
  readonly keys: ReadonlyMap<string, Caller>;
  readonly trustedHeaders: TrustedHeaders | undefined;
  /** For callers of whom no plan is known; absent where such callers are refused. */
  readonly defaultPlan: string | undefined;
  /** The plan of callers without a key, who are counted per address; absent where they are refused. */
  readonly anonymousPlan: string | undefined;
}

/** Who is told of limits that are used up to a share, beside the log and the metrics. */
export interface AlertWebhookSettings {
  /** May hold a token of the receiver's. */
  readonly url: Secret;
  /** The URL's host, for people. */
  readonly host: string;
  readonly secret: Secret;
  /** Public addresses, and those that are allowed beside them. */
  readonly isAllowed: AddressMatcher;
}

export interface Bounds {
  readonly bodyBytesMax: number;
  readonly providerTimeoutMs: number;
  readonly shutdownTimeoutMs: number;
  readonly disconnectDrainMsMax: number;
}

/** A configuration, checked and worked out. Never changes: a new file makes new settings. */
export interface Settings {
  /** For people: the file, or what stands in for it. */
  readonly origin: string;
  readonly listen: ListenAddress;
  /** Absent where it is off. */
  readonly admin: ListenAddress | undefined;
  readonly store: StoreSettings;
  readonly jobs: JobsSettings;
  /** In the order of the configuration: the first of a format takes the paths without a provider's name. */
  readonly providers: ReadonlyMap<string, ProviderSettings>;
  /** Plans and limits, for `CompiledPolicy`. */
  readonly policy: PolicySource;
  readonly prices: PriceSettings;
  /** Where `sluice prices update` puts newer prices than the built-in ones; need not exist. */
  readonly pricesFile: string;
  readonly identity: IdentitySettings;
  /** Names that clients may use for models. */
  readonly aliases: ReadonlyMap<string, string>;
  readonly onDisconnect: "abort" | "drain";
  readonly alertWebhook: AlertWebhookSettings | undefined;
  readonly bounds: Bounds;
  /** To be shown at start-up. */
  readonly warnings: readonly Problem[];
}
