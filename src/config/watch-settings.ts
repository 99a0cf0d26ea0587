import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { originOf, readSettingsFile } from "./load-settings.ts";
import { ConfigurationError } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { settingsFromText } from "./settings-from-text.ts";
import type { Environment } from "./yaml-source.ts";

/** Editors write in several steps (truncate, write, rename): what counts is what stands there once they are quiet. */
const QUIET_MS = 100;
/** Besides being told, the file is looked at this often: file systems of networks and containers do not tell. */
const LOOK_MS = 5_000;

export interface SettingsWatch {
  /** Afterwards nobody is told anything any more. */
  close(): void;
}

export interface SettingsWatchOptions {
  readonly file: string;
  readonly environment: Environment;
  /** A changed file that is valid. */
  readonly onSettings: (settings: Settings) => void;
  /** A changed file that is not, or one that is gone: what is in force stays in force. Told once for each content. */
  readonly onError: (error: ConfigurationError) => void;
}

const digest = (text: string) => createHash("sha256").update(text).digest("hex");

/** What was read: a text, or why there is none. */
type Content = { readonly seen: string; readonly read: string | ConfigurationError };

async function readContent(path: string): Promise<Content> {
  try {
    const text = await readSettingsFile(path);
    return { seen: digest(text), read: text };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return { seen: error.message, read: error };
  }
}

/**
 * Tells of every change of a configuration file's content, from the content at the time of the call on. Watches its folder, since editors and
 * orchestrators replace the file (and Kubernetes a link on the way to it) instead of writing into it. A file that is touched without being
 * changed is no change. Keeps no process alive. Rejects with `ConfigurationError` where the file cannot be read.
 */
export async function watchSettings(options: SettingsWatchOptions): Promise<SettingsWatch> {
  const path = resolve(options.file);
  return new FileWatch(path, digest(await readSettingsFile(path)), options);
}

/** Quiet, until an event or the regular look; waiting for events to stop; reading, one at a time, with at most one more reading owed. */
class FileWatch implements SettingsWatch {
  readonly #path: string;
  readonly #options: SettingsWatchOptions;
  readonly #watcher: FSWatcher | undefined;
  readonly #look: NodeJS.Timeout;
  #quiet: NodeJS.Timeout | undefined;
  #seen: string;
  #isReading = false;
  #isReadingOwed = false;
  #isClosed = false;

  constructor(path: string, seen: string, options: SettingsWatchOptions) {
    this.#path = path;
    this.#seen = seen;
    this.#options = options;
    this.#watcher = this.#watchFolder();
    this.#look = setInterval(() => void this.#read(), LOOK_MS).unref();
  }

  close(): void {
    this.#isClosed = true;
    this.#watcher?.close();
    clearInterval(this.#look);
    clearTimeout(this.#quiet);
  }

  #watchFolder(): FSWatcher | undefined {
    const name = basename(this.#path);
    try {
      const watcher = watch(dirname(this.#path), { persistent: false }, (_event, changed) => {
        // A link that is swapped announces itself under another name (`..data`).
        if (changed === null || changed === name || changed.startsWith("..")) this.#schedule();
      });
      // The folder is gone, or the system has no watches left: the regular look goes on.
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      return undefined;
    }
  }

  #schedule(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => void this.#read(), QUIET_MS).unref();
  }

  async #read(): Promise<void> {
    if (this.#isReading) {
      this.#isReadingOwed = true;
      return;
    }
    this.#isReading = true;
    const content = await readContent(this.#path);
    this.#isReading = false;
    if (this.#isClosed) return;
    if (content.seen !== this.#seen) {
      this.#seen = content.seen;
      this.#tell(content.read);
    }
    if (this.#isReadingOwed) {
      this.#isReadingOwed = false;
      this.#schedule();
    }
  }

  #tell(read: string | ConfigurationError): void {
    const { file, environment, onSettings, onError } = this.#options;
    let settings: Settings;
    try {
      if (read instanceof ConfigurationError) throw read;
      settings = settingsFromText(read, originOf(file), environment);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      onError(error);
      return;
    }
    onSettings(settings);
  }
}
