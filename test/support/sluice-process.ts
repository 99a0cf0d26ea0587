import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

const MAIN = join(import.meta.dirname, "..", "..", "src", "cli", "main.ts");

/** The command line as a process of its own. */
export class SluiceProcess {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #closed: Promise<unknown>;

  constructor(args: readonly string[], environment: Readonly<Record<string, string>> = {}, cwd?: string) {
    this.child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env.PATH, ...environment },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#closed = once(this.child, "close");
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
  }

  /** Its exit code; null where a signal ended it. */
  async exitCode(): Promise<number | null> {
    await this.#closed;
    return this.child.exitCode;
  }

  /** The first line of its output that matches. Rejects with all of it when it ends without one. */
  line(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const lines = createInterface({ input: this.child.stdout! });
      lines.on("line", (line) => {
        const match = pattern.exec(line);
        if (match !== null) resolve(match);
      });
      void this.#closed.then(() =>
        reject(new Error(`no line like ${pattern}:\n${this.stdout}${this.stderr}`)),
      );
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}
