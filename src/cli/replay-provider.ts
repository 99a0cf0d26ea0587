import { readLimits, readSwitches, runReplayProvider } from "../replay-provider/run-replay-provider.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";
import { listenFailure } from "./listen-failure.ts";

export interface ReplayProviderFlags {
  readonly host?: string;
  readonly port?: string;
  readonly data?: string;
  readonly limits?: string;
  readonly switch?: readonly string[];
}

/** Runs a provider of recordings until it is stopped. */
export async function replayProvider(flags: ReplayProviderFlags): Promise<void> {
  const provider = await open(flags);
  process.stdout.write(
    `The replay provider listens on ${provider.url} with ${provider.recordings.length} recordings.\n`,
  );
  const stop = () => void provider.close().then(() => process.exit(EXIT_CODE.ok));
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

const PORT_MAX = 65_535;

function portOf({ port = "0" }: ReplayProviderFlags): number {
  const number = /^\d+$/.test(port) ? Number(port) : Number.NaN;
  if (number <= PORT_MAX) return number;
  return fail(`--port: found "${port}"; allowed: a whole number from 0 to ${PORT_MAX}`, EXIT_CODE.invalid);
}

async function open(flags: ReplayProviderFlags) {
  const port = portOf(flags);
  try {
    const switches = Object.fromEntries((flags.switch ?? []).map((text) => text.split("=", 2)));
    return await runReplayProvider({
      port,
      switches: readSwitches(switches),
      ...(flags.host === undefined ? {} : { host: flags.host }),
      ...(flags.data === undefined ? {} : { dataFile: flags.data }),
      ...(flags.limits === undefined ? {} : { limits: readLimits(flags.limits) }),
    });
  } catch (error) {
    const failure = listenFailure(error, { host: flags.host ?? "127.0.0.1", port }, "--host and --port");
    if (failure !== undefined) return fail(failure);
    return fail(error instanceof Error ? error.message : String(error), EXIT_CODE.invalid);
  }
}
