import { readLimits, readSwitches, runReplayProvider } from "../replay-provider/run-replay-provider.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";

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

async function open(flags: ReplayProviderFlags) {
  try {
    const switches = Object.fromEntries((flags.switch ?? []).map((text) => text.split("=", 2)));
    return await runReplayProvider({
      port: Number(flags.port ?? 0),
      switches: readSwitches(switches),
      ...(flags.host === undefined ? {} : { host: flags.host }),
      ...(flags.data === undefined ? {} : { dataFile: flags.data }),
      ...(flags.limits === undefined ? {} : { limits: readLimits(flags.limits) }),
    });
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error), EXIT_CODE.invalid);
  }
}
