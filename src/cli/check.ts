import { loadSettings } from "../config/load-settings.ts";
import { ConfigurationError, formatProblem } from "../config/problem.ts";
import { EXIT_CODE } from "./exit-code.ts";
import { explainSettings } from "./explain-settings.ts";
import { complain, say } from "./say.ts";

/** Says what a configuration means, or everything that is wrong with it. Returns the exit code. */
export async function check(file: string, asJson: boolean): Promise<number> {
  try {
    const settings = await loadSettings({ file, environment: process.env });
    if (asJson) process.stdout.write(`${JSON.stringify({ valid: true, warnings: settings.warnings })}\n`);
    else {
      say(`${file} is valid\n\n${explainSettings(settings)}\n`);
      for (const warning of settings.warnings) say(`\nwarning: ${formatProblem(warning)}\n`);
    }
    return EXIT_CODE.ok;
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    if (asJson) process.stdout.write(`${JSON.stringify({ valid: false, problems: error.problems })}\n`);
    else complain(`${error.message}\n`);
    return EXIT_CODE.invalid;
  }
}
