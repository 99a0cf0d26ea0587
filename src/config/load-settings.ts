import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { cwd } from "node:process";
import type { Origin } from "./compile-settings.ts";
import { DEMO_DIRECTORY, demoFile } from "./demo-settings.ts";
import { ConfigurationError } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { settingsFromText } from "./settings-from-text.ts";
import type { Environment } from "./yaml-source.ts";

/** A configuration of ten thousand plans is a tenth of this. */
const FILE_BYTES_MAX = 8 * 1_048_576;
const STORE_DEFAULT = "embedded:./.sluice";

export interface SettingsPlace {
  /** The demonstration where there is none. */
  readonly file?: string | undefined;
  /** For `${NAME}` and the providers' keys. */
  readonly environment: Environment;
  /** Base URL of the replay provider, for the demonstration. */
  readonly replayUrl?: string | undefined;
}

/** Relative directories in a file count from the file's own. */
export const originOf = (file: string): Origin => ({
  name: file,
  directory: dirname(resolve(file)),
  storeDefault: STORE_DEFAULT,
});

const unreadable = (file: string, message: string) =>
  new ConfigurationError([{ file, line: undefined, column: undefined, key: "", message }]);

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "the file may not be read",
  EISDIR: "this is a directory, not a file",
};

/** Throws `ConfigurationError` when it cannot be read. */
export async function readSettingsFile(file: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    throw unreadable(file, REASONS[code] ?? `the file cannot be read (${code})`);
  }
  if (bytes.length > FILE_BYTES_MAX)
    throw unreadable(file, `the file is longer than ${FILE_BYTES_MAX} bytes`);
  return bytes.toString("utf8");
}

/** Reads, checks and works out a configuration. Throws `ConfigurationError` with everything that is wrong with it. */
export async function loadSettings(place: SettingsPlace): Promise<Settings> {
  const { file, environment } = place;
  if (file === undefined) {
    const origin = {
      name: "the built-in demonstration",
      directory: cwd(),
      storeDefault: `embedded:${DEMO_DIRECTORY}`,
    };
    return settingsFromText(demoFile(environment, place.replayUrl), origin, environment);
  }
  return settingsFromText(await readSettingsFile(file), originOf(file), environment);
}
