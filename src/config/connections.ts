import { isAbsolute, join } from "node:path";
import { Secret } from "./secret.ts";

/** Where counters live. URLs may hold passwords; `shown` is the same without. */
export type StoreSettings =
  | { readonly kind: "memory" }
  /** `durability`: whether what is acknowledged survives the death of the process, or of the machine too (an fsync each time). */
  | { readonly kind: "embedded"; readonly directory: string; readonly durability: "process" | "machine" }
  | { readonly kind: "redis"; readonly url: Secret; readonly shown: string }
  | {
      readonly kind: "redis_cluster";
      readonly nodes: readonly { readonly host: string; readonly port: number }[];
      readonly username: string | undefined;
      readonly password: Secret | undefined;
      readonly shown: string;
    };

export type JobsSettings =
  | { readonly kind: "embedded" }
  | { readonly kind: "amqp" | "celery"; readonly url: Secret; readonly shown: string };

export interface ListenAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export const LISTEN_ALLOWED =
  "HOST:PORT, :PORT (all interfaces) or a port (on 127.0.0.1), with a port from 0 to 65535";
export const STORE_ALLOWED =
  "memory:, embedded:DIR, redis://HOST:PORT/DB, rediss://… or redis-cluster://HOST:PORT,HOST:PORT";
export const JOBS_ALLOWED = "embedded, amqp://USER:PASSWORD@HOST/VHOST (or amqps://), celery+amqp://…";
export const URL_ALLOWED = "an http:// or https:// URL without user, query or fragment";

const PORT_MAX = 65_535;
const REDIS_PORT = 6_379;

/** `undefined` for what is not an address. */
export function parseListen(value: string | number): ListenAddress | undefined {
  const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^:[\]\s]*):)?(\d{1,5})$/.exec(String(value));
  if (match === null) return undefined;
  const port = Number(match[2]);
  if (port > PORT_MAX) return undefined;
  const host = match[1] === undefined ? "127.0.0.1" : match[1].replace(/^\[|\]$/g, "");
  return { host: host === "" ? "0.0.0.0" : host, port };
}

const parsedUrl = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

/** The URL without user and password. */
function shownUrl(url: URL): string {
  const shown = new URL(url);
  shown.username = "";
  shown.password = "";
  return shown.href;
}

/** Relative directories count from `baseDirectory`. `undefined` for what is not a store. */
export function parseStore(text: string, baseDirectory: string): StoreSettings | undefined {
  if (text === "memory" || text === "memory:") return { kind: "memory" };
  if (text.startsWith("embedded:")) {
    const [path, query, ...rest] = text.slice("embedded:".length).split("?");
    if (path === "" || rest.length > 0 || (query !== undefined && query !== "sync=full")) return undefined;
    const directory = isAbsolute(path) ? path : join(baseDirectory, path);
    return { kind: "embedded", directory, durability: query === undefined ? "process" : "machine" };
  }
  if (text.startsWith("redis-cluster://")) return parseCluster(text.slice("redis-cluster://".length));
  const url = parsedUrl(text);
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === "") return undefined;
  if (!/^\/?\d*$/.test(url.pathname)) return undefined;
  return { kind: "redis", url: new Secret(text), shown: shownUrl(url) };
}

/** `[USER:PASSWORD@]HOST[:PORT],…` */
function parseCluster(text: string): StoreSettings | undefined {
  const at = text.lastIndexOf("@");
  const login = at === -1 ? undefined : parsedUrl(`redis://${text.slice(0, at)}@host`);
  if (at !== -1 && login === undefined) return undefined;
  const nodes = [];
  for (const node of text
    .slice(at + 1)
    .replace(/\/$/, "")
    .split(",")) {
    const match = /^([^:[\]/\s?#]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?$/.exec(node);
    if (match === null || Number(match[2] ?? 0) > PORT_MAX) return undefined;
    nodes.push({ host: match[1].replace(/^\[|\]$/g, ""), port: Number(match[2] ?? REDIS_PORT) });
  }
  return {
    kind: "redis_cluster",
    nodes,
    username: login?.username ? decodeURIComponent(login.username) : undefined,
    password: login?.password ? new Secret(decodeURIComponent(login.password)) : undefined,
    shown: `redis-cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(",")}`,
  };
}

export function parseJobs(text: string): JobsSettings | undefined {
  if (text === "embedded") return { kind: "embedded" };
  const isCelery = text.startsWith("celery+");
  const address = isCelery ? text.slice("celery+".length) : text;
  const url = parsedUrl(address);
  if (url === undefined || !/^amqps?:$/.test(url.protocol) || url.hostname === "") return undefined;
  return {
    kind: isCelery ? "celery" : "amqp",
    url: new Secret(address),
    shown: `${isCelery ? "celery+" : ""}${shownUrl(url)}`,
  };
}

/** Without a slash and without `/v1` at the end, since clients' paths bring theirs; `undefined` for what is no base URL. */
export function parseBaseUrl(text: string): string | undefined {
  const url = parsedUrl(text);
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === "") return undefined;
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return undefined;
  return (url.origin + url.pathname).replace(/\/+$/, "").replace(/\/v1$/, "");
}
