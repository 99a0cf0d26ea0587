import { isAbsolute, join } from "node:path";
import { Secret } from "./secret.ts";

/** Where counters live. URLs may hold passwords; `shown` is the same without. */
export type StoreSettings =
  | { readonly kind: "memory" }
  /** `durability`: whether what is acknowledged survives the death of the process, or of the machine too (an fsync each time). */
  | { readonly kind: "embedded"; readonly directory: string; readonly durability: "process" | "machine" }
  /** One server or a cluster: the URL tells. `realms`: over how many hash tags its keys are spread. */
  | { readonly kind: "redis"; readonly url: Secret; readonly shown: string; readonly realms: number };

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
  "memory:, embedded:DIR, redis://HOST:PORT/DB, rediss://… or redis-cluster://HOST:PORT,HOST:PORT[?realms=N&tls=true]";
export const JOBS_ALLOWED = "embedded, amqp://USER:PASSWORD@HOST/VHOST (or amqps://), celery+amqp://…";
export const URL_ALLOWED = "an http:// or https:// URL without user, query or fragment";

const PORT_MAX = 65_535;
/** Slots of a cluster are 16,384; with more hash tags than these a heartbeat would touch more keys than calls do. */
const REALMS_MAX = 256;

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

/** Whether user and password can be told from their escapes. */
function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(`${username}:${password}`);
    return true;
  } catch {
    return false;
  }
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
  if (!/^\/?\d*$/.test(url.pathname) || !isDecodable(url)) return undefined;
  const realms = realmsOf(url.searchParams);
  return isRealms(realms)
    ? { kind: "redis", url: new Secret(text), shown: shownUrl(url), realms: Number(realms) }
    : undefined;
}

const CLUSTER_NODE = /^(?:[^:[\]/\s?#]+|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?$/;
/** `[USER:PASSWORD@]HOST[:PORT],…[?realms=N&tls=true]` behind `redis-cluster://`. */
function parseCluster(text: string): StoreSettings | undefined {
  const at = text.lastIndexOf("@");
  const login = parsedUrl(`redis://${text.slice(0, at + 1)}host`);
  if (login === undefined || !isDecodable(login)) return undefined;
  const [hosts, query = "", ...more] = text.slice(at + 1).split("?");
  const nodes = hosts.replace(/\/$/, "").split(",");
  if (more.length > 0 || !nodes.every(isClusterNode)) return undefined;
  const options = new URLSearchParams(query);
  const realms = realmsOf(options);
  if (!isRealms(realms) || !["true", "false"].includes(options.get("tls") ?? "false")) return undefined;
  if (![...options.keys()].every((name) => name === "realms" || name === "tls")) return undefined;
  const shown = `redis-cluster://${nodes.join(",")}${query === "" ? "" : `?${query}`}`;
  return { kind: "redis", url: new Secret(`redis-cluster://${text}`), shown, realms: Number(realms) };
}

const realmsOf = (options: URLSearchParams): string => options.get("realms") ?? "1";
const isRealms = (text: string): boolean => /^[1-9]\d*$/.test(text) && Number(text) <= REALMS_MAX;

function isClusterNode(text: string): boolean {
  const match = CLUSTER_NODE.exec(text);
  if (match === null) return false;
  const port = match[1] === undefined ? undefined : Number(match[1]);
  return port === undefined || (port > 0 && port <= PORT_MAX);
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
