import { OperationalError } from "../../core/operational-error.ts";

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

export type RedisAddress =
  | {
      /** One server, as a URL that ioredis reads itself. */
      readonly kind: "single";
      readonly url: string;
      readonly realms: number | undefined;
    }
  | {
      readonly kind: "cluster";
      /** Some of the nodes: the others are found through them. */
      readonly nodes: readonly RedisNode[];
      readonly username: string | undefined;
      readonly password: string | undefined;
      readonly tls: boolean;
      readonly realms: number | undefined;
    };

/** Slots are 16,384; beyond this a heartbeat would touch more keys than calls do. */
const REALMS_MAX = 256;
const PORT_DEFAULT = 6379;
const SHAPES =
  "redis://[USER:PASSWORD@]HOST:PORT[/DB], rediss://… or redis-cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT[?realms=N&tls=true]";

/** Throws `OperationalError` `invalid_configuration`. The message never holds the URL, which may hold a password (X1). */
export function parseRedisUrl(url: string): RedisAddress {
  const match = /^(redis|rediss|redis-cluster):\/\/(?:([^/]*)@)?([^/?@]+)(\/[^?]*)?(?:\?(.*))?$/.exec(url);
  if (match === null) throw invalid("is not a Redis URL");
  const [, scheme, credentials, hosts, path, query] = match;
  const colon = credentials?.indexOf(":") ?? -1;
  const username = colon > 0 ? decoded(credentials.slice(0, colon)) : undefined;
  const password = colon >= 0 ? decoded(credentials.slice(colon + 1)) : undefined;
  const options = new URLSearchParams(query ?? "");
  const realms = realmsOf(options.get("realms"));
  if (scheme !== "redis-cluster") {
    options.delete("realms");
    const rest = options.size > 0 ? `?${options}` : "";
    const login = credentials === undefined ? "" : `${credentials}@`;
    return { kind: "single", url: `${scheme}://${login}${hosts}${path ?? ""}${rest}`, realms };
  }
  if (path !== undefined && path !== "/" && path !== "/0")
    throw invalid("names a database, which a cluster has not");
  return {
    kind: "cluster",
    nodes: hosts.split(",").map(nodeOf),
    username,
    password,
    tls: options.get("tls") === "true",
    realms,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("has a user or a password with a % that escapes nothing");
  }
}

function nodeOf(text: string): RedisNode {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? PORT_DEFAULT);
  if (match === null || port < 1 || port > 65_535) throw invalid("has a node that is not HOST:PORT");
  return { host: match[1].replace(/^\[|\]$/g, ""), port };
}

function realmsOf(text: string | null): number | undefined {
  if (text === null) return undefined;
  const realms = Number(text);
  checkRealms(realms);
  return realms;
}

/** Throws `OperationalError` `invalid_configuration` unless it is a number of realms. */
export function checkRealms(realms: number): void {
  if (!Number.isInteger(realms) || realms < 1 || realms > REALMS_MAX) {
    throw invalid(`needs a number of realms from 1 to ${REALMS_MAX}`);
  }
}

const invalid = (what: string) =>
  new OperationalError("invalid_configuration", `the store ${what}; it should be ${SHAPES}`);
