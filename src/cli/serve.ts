import pino from "pino";
import { type RunningGateway, startGateway } from "../compose.ts";
import { LISTEN_ALLOWED, parseListen } from "../config/connections.ts";
import { loadSettings } from "../config/load-settings.ts";
import { ConfigurationError, formatProblem } from "../config/problem.ts";
import { Secret } from "../config/secret.ts";
import type { Settings } from "../config/settings.ts";
import { openSettingsFile, type SettingsFile } from "../config/watch-settings.ts";
import { OperationalError } from "../core/operational-error.ts";
import { PrometheusTelemetry } from "../telemetry/prometheus-telemetry.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";
import { listenFailure } from "./listen-failure.ts";

export interface ServeOptions {
  /** The demonstration where there is none. */
  readonly config?: string | undefined;
  /** Instead of the configuration's. */
  readonly listen?: string | undefined;
  readonly logLevel: string;
  /** Of a provider that stands in for those without a key. */
  readonly replayUrl?: string | undefined;
  /** Is told where the gateway listens, once it does. */
  readonly onReady?: (url: string) => void;
  /** Closed after the gateway. */
  readonly onClosed?: () => Promise<void>;
}

/** Loads a configuration, or ends the process with everything that is wrong with it. Without a file there is nothing to watch. */
async function openOrExit({ config, replayUrl }: ServeOptions): Promise<SettingsFile> {
  try {
    if (config !== undefined) return await openSettingsFile(config, process.env);
    const settings = await loadSettings({ environment: process.env, replayUrl });
    return { settings, watch: () => ({ close: () => {} }) };
  } catch (error) {
    if (error instanceof ConfigurationError) fail(error.message, EXIT_CODE.invalid);
    throw error;
  }
}

/** The settings with the address of the command line, where it gives one. */
function withListen(settings: Settings, text: string | undefined): Settings {
  if (text === undefined) return settings;
  const listen = parseListen(text);
  if (listen === undefined) fail(`--listen: found "${text}"; allowed: ${LISTEN_ALLOWED}`, EXIT_CODE.invalid);
  return { ...settings, listen };
}

async function startOrExit(settings: Settings, telemetry: PrometheusTelemetry): Promise<RunningGateway> {
  try {
    return await startGateway(settings, telemetry);
  } catch (error) {
    const failure = listenFailure(error, settings.listen, "`listen` in the configuration, or --listen");
    if (failure !== undefined) fail(failure);
    if (error instanceof OperationalError) fail(error.message);
    throw error;
  }
}

/** Service managers signal a whole group, whose first process may hand the signal on: within this, it is the same one. */
const SAME_SIGNAL_MS = 500;

/** Which of SIGTERM, SIGINT and SIGHUP (the terminal is gone) comes first. Another one later ends the process at once. */
function firstSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let firstMs: number | undefined;
  const stop = (signal: string) => {
    const nowMs = performance.now();
    if (firstMs !== undefined && nowMs - firstMs > SAME_SIGNAL_MS) process.exit(EXIT_CODE.failed);
    firstMs ??= nowMs;
    resolve(signal);
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, stop);
  return promise;
}

/** Runs a gateway until SIGTERM, SIGINT or SIGHUP, then drains it and exits with 0 (X6). Another signal, later, ends it at once. */
export async function serve(options: ServeOptions): Promise<void> {
  // Before anything listens: whoever sees the gateway answer may stop it.
  const stopped = firstSignal();
  const opened = await openOrExit(options);
  const settings = withListen(opened.settings, options.listen);
  const telemetry = new PrometheusTelemetry(pino({ level: options.logLevel }));
  for (const warning of settings.warnings) telemetry.log("warn", formatProblem(warning));
  const gateway = await startOrExit(settings, telemetry);
  const watched = watchConfiguration(opened, gateway, telemetry);
  telemetry.log("info", "listening", { url: gateway.url, configuration: settings.origin });
  options.onReady?.(gateway.url);

  const signal = await stopped;
  telemetry.log("info", "stopping: no new calls, waiting for those in flight", { signal });
  watched.close();
  try {
    await gateway.close();
    await options.onClosed?.();
  } catch (error) {
    fail(`the gateway could not be stopped in order: ${String(error)}`);
  }
  process.exit(EXIT_CODE.ok);
}

/** For comparing only: a password may be all that has changed. */
const withSecrets = (value: object): string =>
  JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, key, shown: unknown) {
    const own = this[key];
    return own instanceof Secret ? own.reveal() : shown;
  });

/** What a file wants otherwise than the one at the start did, and cannot change while a gateway runs: it would be misunderstood if it were ignored in silence. */
function needsRestart(atStart: Settings, wanted: Settings): string[] {
  const changed: string[] = [];
  if (atStart.listen.host !== wanted.listen.host || atStart.listen.port !== wanted.listen.port)
    changed.push("listen");
  if (withSecrets(atStart.store) !== withSecrets(wanted.store)) changed.push("store");
  return changed;
}

function watchConfiguration(opened: SettingsFile, gateway: RunningGateway, telemetry: PrometheusTelemetry) {
  return opened.watch({
    onSettings: (settings) => {
      gateway.useSettings(settings);
      telemetry.count("config-reloaded");
      telemetry.log("info", "the changed configuration is in force", { configuration: settings.origin });
      for (const key of needsRestart(opened.settings, settings)) {
        telemetry.log("warn", `the change of \`${key}\` needs a restart`);
      }
      for (const warning of settings.warnings) telemetry.log("warn", formatProblem(warning));
    },
    onFailure: (error) => {
      telemetry.count("config-rejected");
      telemetry.log("error", "the changed configuration could not be taken, the one before stays in force", {
        error: error instanceof Error ? error.stack : String(error),
      });
    },
    onError: (error) => {
      telemetry.count("config-rejected");
      telemetry.log(
        "error",
        `the changed configuration is not valid, the one before stays in force:\n${error.message}`,
      );
    },
  });
}
