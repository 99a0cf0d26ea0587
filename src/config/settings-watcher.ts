import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { originOf, readSettingsFile } from "./load-settings.ts";
import { ConfigurationError } from "./problem.ts";
import type { Settings } from "./settings.ts";
import { settingsFromText } from "./settings-from-text.ts";
import type { Environment } from "./yaml-source.ts";

/** Editors write in several steps (truncate, write, rename): the file is read when nothing has happened for this long. */
const QUIET_MS = 100;
/**
 * Besides being told, the file is looked at this often: file systems of containers and networks do not tell of changes, and a Kubernetes
 * ConfigMap swaps a link in a directory above.
 */
const LOOK_MS = 5_000;

export interface SettingsListener {
  /** A valid change. */
  readonly changed: (settings: Settings) => void;
  /** A change that cannot be used, or a file that is gone: what was valid before stays in force. Once for each content. */
  readonly rejected: (error: ConfigurationError) => void;
}

export interface WatchOptions {
  readonly file: string;
  readonly environment: Environment;
  readonly listener: SettingsListener;
  /** Ends the watching. */
  readonly signal: AbortSignal;
}

/**
 * Watches a configuration file, which was valid when it was loaded, until `signal` fires; afterwards nobody is called any more.
 * It watches the directory, since editors put a new file in the place of the old one. It keeps no process alive.
 *
 * States: quiet, until an event or the regular look; waiting for more events to stop; reading, with at most one more reading owed.
 */
export class SettingsWatcher {
  readonly #options: WatchOptions;
  readonly #watcher: FSWatcher | undefined;
  readonly #look: NodeJS.Timeout;
  #quiet: NodeJS.Timeout | undefined;
  #isReading = false;
  #isReadingOwed = false;
  /** Of the content that was last reported, or of the reason why there is none. */
  #seen: string;

  /** `text` is the content that is in force. */
  constructor(text: string, options: WatchOptions) {
    this.#options = options;
    this.#seen = hashOf(text);
    this.#watcher = this.#watchDirectory();
    this.#look = setInterval(() => this.#schedule(), LOOK_MS).unref();
    if (options.signal.aborted) this.#close();
    else options.signal.addEventListener("abort", () => this.#close(), { once: true });
    // What changed between the loading and now would otherwise wait for the regular look.
    this.#schedule();
  }

  #watchDirectory(): FSWatcher | undefined {
    const path = resolve(this.#options.file);
    try {
      const watcher = watch(dirname(path), { persistent: false }, (_event, name) => {
        if (name === null || name === basename(path)) this.#schedule();
      });
      // The directory is gone, or the system has no watches left: the regular look goes on.
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      return undefined;
    }
  }

  #close(): void {
    this.#watcher?.close();
    clearInterval(this.#look);
    clearTimeout(this.#quiet);
  }

  #schedule(): void {
    if (this.#options.signal.aborted) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => void this.#read(), QUIET_MS).unref();
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    if (this.#isReading) {
      this.#isReadingOwed = true;
      return;
    }
    this.#isReading = true;
    const { file, environment, listener, signal } = this.#options;
    let outcome: { readonly seen: string; readonly tell: () => void };
    try {
      const text = await readSettingsFile(file);
      outcome = { seen: hashOf(text), tell: () => tell(text, file, environment, listener) };
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      outcome = { seen: error.message, tell: () => listener.rejected(error) };
    }
    this.#isReading = false;
    if (signal.aborted) return;
    if (outcome.seen !== this.#seen) {
      this.#seen = outcome.seen;
      outcome.tell();
    }
    if (this.#isReadingOwed) {
      this.#isReadingOwed = false;
      this.#schedule();
    }
  }
}

function tell(text: string, file: string, environment: Environment, listener: SettingsListener): void {
  let settings: Settings;
  try {
    settings = settingsFromText(text, originOf(file), environment);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    listener.rejected(error);
    return;
  }
  listener.changed(settings);
}

const hashOf = (text: string) => createHash("sha256").update(text).digest("base64");

/** Where settings come from: those of the start, and their changes. */
export interface SettingsSource {
  readonly initial: Settings;
  /** Calls the listener for every change until `signal` fires. Settings without a file never change. */
  watch(listener: SettingsListener, signal: AbortSignal): void;
}

export const fixedSettings = (initial: Settings): SettingsSource => ({ initial, watch: () => {} });

/** Throws `ConfigurationError`. */
export async function settingsOfFile(file: string, environment: Environment): Promise<SettingsSource> {
  const text = await readSettingsFile(file);
  return {
    initial: settingsFromText(text, originOf(file), environment),
    watch: (listener, signal) => void new SettingsWatcher(text, { file, environment, listener, signal }),
  };
}
