import { loadSettings } from "../config/load-settings.ts";
import { ConfigurationError } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import { EXIT_CODE, fail } from "./exit-code.ts";

/** The settings of `--config`, where it is given. Ends the process with everything that is wrong with the file. */
export async function settingsOrExit(config: string | undefined): Promise<Settings | undefined> {
  if (config === undefined) return undefined;
  try {
    return await loadSettings({ file: config, environment: process.env });
  } catch (error) {
    if (error instanceof ConfigurationError) fail(error.message, EXIT_CODE.invalid);
    throw error;
  }
}
