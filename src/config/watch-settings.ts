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

export interface SettingsListener {
  /** A changed file that is valid. */
  readonly onSettings: (settings: Settings) => void;
  /** A change that could not be taken for a reason that is not the file's: a mistake in this program. What is in force stays in force. */
  readonly onFailure: (error: unknown) => void;
  /** A changed file that is not, or one that is gone: what is in force stays in force. Told once for each content. */
  readonly onError: (error: ConfigurationError) => void;
}

/** A configuration file as it was read, and a way to be told of its changes from then on. */
export interface SettingsFile {
  readonly settings: Settings;
  watch(listener: SettingsListener): SettingsWatch;
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
 * Reads and checks a configuration file. Throws `ConfigurationError`.
 *
 * Watching tells of every change of its content since it was read. It watches the folder, since editors and orchestrators replace the file
 * (and Kubernetes a link on the way to it) instead of writing into it. A file that is touched without being changed is no change. Keeps no
 * process alive.
 */
export async function openSettingsFile(file: string, environment: Environment): Promise<SettingsFile> {
  const text = await readSettingsFile(file);
  const parse = (changed: string) => settingsFromText(changed, originOf(file), environment);
  return {
    settings: parse(text),
    watch: (listener) => new FileWatch(resolve(file), digest(text), parse, listener),
  };
}

/** Quiet, until an event or the regular look; waiting for events to stop; reading, one at a time, with at most one more reading owed. */
class FileWatch implements SettingsWatch {
  readonly #path: string;
  readonly #parse: (text: string) => Settings;
  readonly #listener: SettingsListener;
  readonly #watcher: FSWatcher | undefined;
  readonly #look: NodeJS.Timeout;
  #quiet: NodeJS.Timeout | undefined;
  #seen: string;
  #isReading = false;
  #isReadingOwed = false;
  #isClosed = false;

  constructor(path: string, seen: string, parse: (text: string) => Settings, listener: SettingsListener) {
    this.#path = path;
    this.#seen = seen;
    this.#parse = parse;
    this.#listener = listener;
    this.#watcher = this.#watchFolder();
    this.#look = setInterval(() => this.#update(), LOOK_MS).unref();
    // What changed since it was read.
    this.#schedule();
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
    this.#quiet = setTimeout(() => this.#update(), QUIET_MS).unref();
  }

  #update(): void {
    this.#read().catch((error: unknown) => this.#listener.onFailure(error));
  }

  async #read(): Promise<void> {
    if (this.#isReading) {
      this.#isReadingOwed = true;
      return;
    }
    this.#isReading = true;
    const content = await readContent(this.#path).finally(() => {
      this.#isReading = false;
    });
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
    let settings: Settings;
    try {
      if (read instanceof ConfigurationError) throw read;
      settings = this.#parse(read);
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      this.#listener.onError(error);
      return;
    }
    this.#listener.onSettings(settings);
  }
}
