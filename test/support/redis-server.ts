import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { Redis } from "ioredis";
import { freePorts } from "./free-port.ts";
import { redisBinary } from "./redis-binary.ts";

/** Starting takes a tenth of a second; the rest is for a machine that is busy. */
const READY_MS_MAX = 20_000;
/** How often another port is tried when somebody took the one that was free a moment ago. */
const PORT_TRIES_MAX = 5;

export interface RedisServerOptions {
  /** Keep an append-only file with an fsync a write, so that `restart` finds what was acknowledged before. Default: nothing is kept. */
  readonly persistent?: boolean;
  /** Start as a node of a cluster; use `startRedisCluster` for a whole one. */
  readonly cluster?: boolean;
  /** More settings, e.g. `{ "maxmemory-policy": "allkeys-lru" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

type RedisProcess = ChildProcessByStdio<null, Readable, null>;

/** One real `redis-server` on a free loopback port, with its files in a temporary folder. Whoever starts it calls `stop`. */
export class RedisServer {
  readonly host = "127.0.0.1";
  readonly port: number;
  /** The port of the cluster bus; only of use in cluster mode. */
  readonly busPort: number;
  readonly #options: RedisServerOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), "sluice-redis-"));
  readonly #killAtExit = () => this.#process?.kill("SIGKILL");
  #process: RedisProcess | undefined;
  #log = "";
  #logged: (() => void) | undefined;

  /** Use `startRedisServer`. */
  constructor(port: number, busPort: number, options: RedisServerOptions) {
    this.port = port;
    this.busPort = busPort;
    this.#options = options;
    process.on("exit", this.#killAtExit);
  }

  /** As a `store` setting and as an argument for a client. */
  get url(): string {
    return `redis://${this.host}:${this.port}`;
  }

  /** The operating system's id of the server process. Throws while it is not running. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error("this Redis is not running");
    return pid;
  }

  /** Everything the server wrote since it was last started. */
  get log(): string {
    return this.#log;
  }

  /** Starts the process and resolves when it accepts connections. Rejects with the server's own words when it does not. */
  async start(): Promise<void> {
    if (this.#process !== undefined) throw new Error("this Redis is already running");
    const child = spawn(redisBinary(), this.#arguments(), {
      cwd: this.#folder,
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.#process = child;
    this.#log = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      this.#log += text;
      this.#logged?.();
    });
    child.once("error", (error) => {
      this.#log += `${error.message}\n`;
    });
    child.once("close", () => {
      if (this.#process === child) this.#process = undefined;
      this.#logged?.();
    });
    await this.waitForLog("Ready to accept connections");
  }

  /** Resolves when the log of this run contains `text`; rejects when the server ends or time is up before that. */
  async waitForLog(text: string): Promise<void> {
    const deadline = setTimeout(() => this.#logged?.(), READY_MS_MAX);
    const giveUpAtMs = Date.now() + READY_MS_MAX;
    try {
      while (!this.#log.includes(text)) {
        if (this.#process === undefined || Date.now() >= giveUpAtMs)
          throw new Error(`redis-server never said "${text}":\n${this.#log}`);
        await new Promise<void>((resolve) => {
          this.#logged = resolve;
        });
      }
    } finally {
      clearTimeout(deadline);
      this.#logged = undefined;
    }
  }

  /** Ends the process as an operator would (SIGTERM); the port and the files stay, so that `start` brings it back. */
  async shutDown(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** `kill -9`; the port and the files stay, so that `start` brings it back. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Down and up again on the same port; without `persistent` all data is gone. */
  async restart(how: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    await this.#end(how);
    await this.start();
  }

  /** Stops the process in its tracks: connections stay open and nothing is answered. */
  pause(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  resume(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** Blocks the server for `seconds`, as a slow command does; resolves when it is over. */
  async debugSleep(seconds: number): Promise<void> {
    await this.command("DEBUG", "SLEEP", String(seconds));
  }

  /** Runs one command on a connection of its own. */
  async command(name: string, ...args: readonly string[]): Promise<unknown> {
    const client = new Redis({
      host: this.host,
      port: this.port,
      lazyConnect: true,
      retryStrategy: () => null,
    });
    // The rejected command says the same.
    client.on("error", () => {});
    try {
      await client.connect();
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  /** Ends the process for good and removes its files. May be called twice. */
  async stop(): Promise<void> {
    await this.#end("SIGKILL");
    process.off("exit", this.#killAtExit);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill(signal);
    // A paused process handles a SIGTERM only after it goes on.
    child.kill("SIGCONT");
    await ended;
  }

  #arguments(): string[] {
    const settings: Record<string, string> = {
      bind: this.host,
      port: String(this.port),
      dir: this.#folder,
      save: "",
      appendonly: this.#options.persistent === true ? "yes" : "no",
      appendfsync: "always",
      daemonize: "no",
      "maxmemory-policy": "noeviction",
      "enable-debug-command": "local",
      ...(this.#options.cluster === true ? this.#clusterSettings() : {}),
      ...this.#options.settings,
    };
    return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  }

  #clusterSettings(): Record<string, string> {
    return {
      "cluster-enabled": "yes",
      "cluster-config-file": "nodes.conf",
      // The default, port + 10000, is no port at all for most ephemeral ones.
      "cluster-port": String(this.busPort),
      // Failure detection of seconds instead of the default 15, so that tests of it are short.
      "cluster-node-timeout": "2000",
    };
  }
}

/** Starts a server that accepts connections when this resolves. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const [port, busPort] = await freePorts(2);
    const server = new RedisServer(port!, busPort!, options);
    try {
      await server.start();
      return server;
    } catch (error) {
      const { log } = server;
      await server.stop();
      if (tries === PORT_TRIES_MAX || !log.includes("Address already in use")) throw error;
    }
  }
}
