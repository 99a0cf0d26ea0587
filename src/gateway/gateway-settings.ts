import type { CompiledPolicy } from "../core/policy/compiled-policy.ts";
import type { ProviderFormat } from "../ports/provider-format.ts";
import type { Identification } from "./identify.ts";

/** A provider as the gateway calls it. */
export interface ProviderRoute {
  readonly name: string;
  readonly format: ProviderFormat;
  /** Scheme, host and port. */
  readonly origin: string;
  /** What stands before the client's path, without a slash at its end; usually empty. */
  readonly basePath: string;
  /** Its key is absent where the provider wants none. */
  readonly account: { readonly name: string; readonly key: string | undefined };
}

/** Everything about one connection or call that has a limit (X3). */
export interface GatewayBounds {
  readonly bodyBytesMax: number;
  /** Bodies that pass through unread: uploads. */
  readonly uploadBytesMax: number;
  readonly headerBytesMax: number;
  readonly connectionsMax: number;
  /** To receive a request, head and body. */
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Until the provider's answer begins. */
  readonly answerTimeoutMs: number;
  /** Between two chunks of the provider's answer. */
  readonly idleTimeoutMs: number;
  /** Without a byte on a client's connection in either direction while a call is open: a client that stopped reading. Longer than the two above. */
  readonly stalledMsMax: number;
  /** With `onDisconnect: "drain"`, how long an answer is read on for without a reader. */
  readonly disconnectDrainMsMax: number;
  /** For calls in flight after SIGTERM (X6). */
  readonly drainTimeoutMs: number;
}

/** What of the configuration the gateway goes by; replaced as a whole when the file changes. */
export interface GatewaySettings {
  readonly policy: CompiledPolicy;
  /** By name, in the order of the file: the first of a format serves its bare paths. */
  readonly providers: ReadonlyMap<string, ProviderRoute>;
  /** All there are: a provider may speak others beside its own. */
  readonly formats: readonly ProviderFormat[];
  /** Names that clients may use for models, and what they stand for. */
  readonly modelAliases: ReadonlyMap<string, string>;
  readonly identification: Identification;
  readonly onDisconnect: "abort" | "drain";
  readonly bounds: GatewayBounds;
}
