import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** The program under test has a core of its own; whatever feeds and measures it shares the other one. */
export const PROGRAM_CORE = 0;
export const SUPPORT_CORE = 1;

/** The strongest there is. */
const NICENESS = "-20";
/** A program that does not answer within this is broken: the slowest peer needs about three seconds on a busy machine. */
const READY_MS_MAX = 20_000;
/** How long a program may take to end after SIGTERM before it is killed. */
const STOP_MS_MAX = 5_000;
/** `/proc/PID/stat` counts in these: USER_HZ is 100 on every Linux that Node runs on. */
const MS_PER_TICK = 10;

export interface PinnedProcess {
  readonly pid: number;
  /** User and system CPU time so far, of the process and its living children (nginx's worker), in ms. Grain: 10 ms. */
  cpuMs(): number;
  /** Resident memory of the process, in bytes. */
  rssBytes(): number;
  /** Resolves with the first match in what the process has written to standard output. */
  output(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Resolves with the exit code. */
  exited(): Promise<number | null>;
  /** SIGTERM, then SIGKILL. */
  stop(): Promise<void>;
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command's name is in brackets and may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // utime and stime are fields 14 and 15 of proc(5): all threads of the process, ended ones included.
  return Number(fields[11]) + Number(fields[12]);
}

/** User and system CPU time so far, of a process and its living children, in ms. Grain: 10 ms. */
export function cpuMsOf(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce((sum, each) => sum + ticksOf(each) * MS_PER_TICK, 0);
}

function rssBytesOf(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Keeps what a process writes, and lets others wait for a piece of it. */
class Output {
  text = "";
  readonly #waiting = new Set<() => void>();

  append(chunk: string): void {
    this.text += chunk;
    for (const look of [...this.#waiting]) look();
  }

  wait(pattern: RegExp, child: ChildProcess): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = this.text.match(pattern);
        if (match === null) return;
        this.#waiting.delete(look);
        resolve(match);
      };
      this.#waiting.add(look);
      child.once("exit", () => reject(new Error(`ended before it wrote ${pattern}:\n${this.text}`)));
      look();
    });
  }
}

/** Starts `command` on one core. It belongs to the caller, who must `stop` it; it is ended when this process ends before that. */
export function startPinned(
  core: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
): PinnedProcess {
  // nice and taskset replace themselves by the command, so the pid is the command's own. Where this is root, the other programs of a shared
  // machine get little of the core while something is measured; elsewhere nice says that it may not, and runs the command all the same.
  const child = spawn("nice", ["-n", NICENESS, "taskset", "-c", String(core), ...command], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = new Output();
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => output.append(chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => output.append(chunk));
  const exit = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
  // Not SIGKILL: nginx would leave its worker behind.
  const killNow = () => child.kill("SIGTERM");
  process.once("exit", killNow);
  exit.then(() => process.off("exit", killNow));
  const pid = child.pid;
  if (pid === undefined) throw new Error(`could not start ${command.join(" ")}`);
  return {
    pid,
    cpuMs: () => cpuMsOf(pid),
    rssBytes: () => rssBytesOf(pid),
    output: (pattern) => output.wait(pattern, child),
    exited: () => exit,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const stopped = await Promise.race([exit.then(() => true), delay(STOP_MS_MAX, false, { ref: false })]);
      if (!stopped) child.kill("SIGKILL");
      await exit;
    },
  };
}

/** Resolves when something accepts connections on the port of this machine. */
export async function untilListening(port: number, program: PinnedProcess): Promise<void> {
  const deadlineMs = Date.now() + READY_MS_MAX;
  let ended = false;
  program.exited().then(() => {
    ended = true;
  });
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return;
    } catch (error) {
      if (ended) {
        throw new Error(`the program on port ${port} ended: ${(await program.output(/[\s\S]*/))[0]}`);
      }
      if (Date.now() > deadlineMs) throw new Error(`nothing listens on port ${port}`, { cause: error });
      // Connecting is the only way to find out; 10 ms apart costs nothing beside what is measured later.
      await delay(10);
    } finally {
      socket.destroy();
    }
  }
}
