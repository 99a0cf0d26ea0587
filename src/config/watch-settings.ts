import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { originOf, readSettingsFile } from "./load-settings.ts";
import { ConfigurationError } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { settingsFromText } from "./settings-from-text.ts";
import type { Environment } from "./yaml-source.ts";

/** Editors write in several steps: what counts is what stands there once they are quiet. */
const QUIET_MS = 100;

export interface SettingsWatch {
  close(): void;
}

export interface SettingsWatchOptions {
  readonly file: string;
  readonly environment: Environment;
  /** A changed file that is valid. */
  readonly onSettings: (settings: Settings) => void;
  /** A changed file that is not: what is in force stays in force. */
  readonly onError: (error: ConfigurationError) => void;
}

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

/**
 * Tells of every change of a configuration file's content. Watches its folder, since editors and orchestrators replace the file (and Kubernetes
 * a link on the way to it) instead of writing into it. A file that is touched without being changed is no change.
 */
export async function watchSettings(options: SettingsWatchOptions): Promise<SettingsWatch> {
  const { file, environment, onSettings, onError } = options;
  const path = resolve(file);
  let seen = digest(await readSettingsFile(path));
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const look = async () => {
    try {
      const text = await readSettingsFile(path);
      if (closed || digest(text) === seen) return;
      seen = digest(text);
      onSettings(settingsFromText(text, originOf(file), environment));
    } catch (error) {
      if (closed) return;
      if (!(error instanceof ConfigurationError)) throw error;
      onError(error);
    }
  };
  const name = basename(path);
  const watcher: FSWatcher = watch(dirname(path), { persistent: false }, (_event, changed) => {
    // A link that is swapped announces itself under another name (`..data`).
    if (changed !== null && changed !== name && !changed.startsWith("..")) return;
    clearTimeout(timer);
    timer = setTimeout(() => void look(), QUIET_MS);
  });
  watcher.on("error", () => {});
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
      watcher.close();
    },
  };
}
