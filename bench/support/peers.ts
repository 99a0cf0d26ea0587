import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("..", import.meta.url));
const MARK = join(BENCH, "node_modules", ".sluice-installed");
const require = createRequire(join(BENCH, "package.json"));

/** Installs the peers named in this folder's own package.json, unless they are there. Throws with npm's words when it fails. */
export function installPeers(progress: (message: string) => void): void {
  const lock = statSync(join(BENCH, "package-lock.json"));
  if (existsSync(MARK) && statSync(MARK).mtimeMs >= lock.mtimeMs) return;
  progress("installing the peers (once)");
  // Their install scripts are not needed, and nothing of theirs should run as root.
  const npm = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: BENCH,
    encoding: "utf8",
  });
  if (npm.status !== 0) throw new Error(`npm ci in bench/ failed:\n${npm.stdout}${npm.stderr}`);
  writeFileSync(MARK, "");
}

/** The file that starts the Portkey gateway. */
export function portkeyEntry(): string {
  const manifest = join(BENCH, "node_modules", "@portkey-ai", "gateway", "package.json");
  const { bin } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly bin: string };
  return join(manifest, "..", bin);
}

/** As much of `rate-limiter-flexible` as is used here. */
export interface RateLimiterFlexible {
  readonly RateLimiterRedis: new (options: {
    readonly storeClient: unknown;
    readonly keyPrefix: string;
    readonly points: number;
    readonly duration: number;
  }) => { consume(key: string, points?: number): Promise<unknown> };
}

/** Loaded at run time: it is no dependency of the project itself. */
export const rateLimiterFlexible = () => require("rate-limiter-flexible") as RateLimiterFlexible;

/** As much of BullMQ as is used here. */
export interface BullMq {
  readonly Queue: new (
    name: string,
    options: { readonly connection: object },
  ) => { add(name: string, data: object, options: object): Promise<unknown>; close(): Promise<void> };
  readonly Worker: new (
    name: string,
    process: () => Promise<void>,
    options: { readonly connection: object; readonly concurrency: number },
  ) => { close(): Promise<void> };
}

export const bullMq = () => require("bullmq") as BullMq;

type CountTokens = (text: string) => number;

/** tokenx' estimate of a text. */
export async function tokenx(): Promise<CountTokens> {
  const { estimateTokenCount } = (await import(require.resolve("tokenx"))) as {
    readonly estimateTokenCount: CountTokens;
  };
  return (text) => estimateTokenCount(text);
}

/** gpt-tokenizer's exact count of a text with one of OpenAI's tokenizers. */
export function gptTokenizer(encoding: "o200k_base" | "cl100k_base" = "o200k_base"): CountTokens {
  const { countTokens } = require(`gpt-tokenizer/encoding/${encoding}`) as {
    readonly countTokens: (text: string, options: { readonly allowedSpecial: "all" }) => number;
  };
  return (text) => countTokens(text, { allowedSpecial: "all" });
}

/** As much of vega-lite and vega as is used here. */
interface VegaLite {
  readonly compile: (spec: object) => { readonly spec: object };
}
interface Vega {
  readonly parse: (spec: object) => object;
  readonly View: new (
    runtime: object,
    options: { readonly renderer: "none" },
  ) => { toSVG(): Promise<string> };
}

/** A chart as a picture: `spec` is vega-lite's. */
export async function drawChart(spec: object): Promise<string> {
  const { compile } = (await import(require.resolve("vega-lite"))) as VegaLite;
  const { parse, View } = (await import(require.resolve("vega"))) as Vega;
  return new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
}
