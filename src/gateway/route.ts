import type { ProviderRoute } from "./gateway-settings.ts";
import type { RequestHeaders } from "./http-server/request-headers.ts";

export type Route =
  /** `path` is the provider's own, with its query. */
  | { readonly kind: "provider"; readonly provider: ProviderRoute; readonly path: string }
  | { readonly kind: "limits" }
  | { readonly kind: "health" }
  | { readonly kind: "readiness" }
  | { readonly kind: "metrics" }
  | { readonly kind: "not_found" }
  /** Its target may be read in more than one way. */
  | { readonly kind: "bad_target" };

const NOT_FOUND: Route = { kind: "not_found" };
const BAD_TARGET: Route = { kind: "bad_target" };

/** A segment `.` or `..`, it and the slashes around it written plainly or escaped: would let a client leave the provider's base path. */
const DOT_SEGMENT = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\?#;]|%2f|%5c)/i;

/** What no target may hold: a fragment (RFC 9112, section 3.2.1), or a control character, which some servers cut a path at or take for its end. */
const FORBIDDEN = /#|%[01][0-9a-f]|%7f/i;

/** What a path must be free of to be read as it stands. */
const UNUSUAL = /[%\\;A-Z]|\/\/|[/.]$/;
const ESCAPE = /%([0-9a-f]{2})/gi;

/**
 * The path of a call as the most lenient server may read it, without its query: for recognising what is metered, so that no spelling (`//`, `%63`, a slash
 * or a blank at the end, capitals) makes a call an unknown one. What is sent on stays as the client wrote it.
 */
export function recognisedPath(path: string): string {
  const query = path.indexOf("?");
  const bare = query === -1 ? path : path.slice(0, query);
  if (!UNUSUAL.test(bare)) return bare;
  const plain = bare
    // Each for itself: one that is none must not hide the others.
    .replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/;[^/]*/g, "")
    .replace(/[/\\]+/g, "/")
    .replace(/ +/g, "")
    .replace(/\.+(?=\/|$)/g, "")
    .toLowerCase();
  return plain.length > 1 && plain.endsWith("/") ? plain.slice(0, -1) : plain;
}

/** `/v1/messages` and what is below it. */
const isMessages = (path: string) =>
  path.startsWith("/v1/messages") && (path.length === 12 || path[12] === "/" || path[12] === "?");

const OWN: Readonly<Record<string, Route>> = {
  "/sluice/v1/limits": { kind: "limits" },
  "/healthz": { kind: "health" },
  "/readyz": { kind: "readiness" },
  "/metrics": { kind: "metrics" },
};

function firstOfFormat(
  providers: ReadonlyMap<string, ProviderRoute>,
  format: string,
): ProviderRoute | undefined {
  for (const provider of providers.values()) if (provider.format.name === format) return provider;
  return undefined;
}

/** Paths that only OpenAI's format has, whatever else a client says. */
const OPENAI_ONLY = /^\/v1\/(?:chat\/|responses|embeddings|completions)/;

/**
 * Where a request goes. Bare `/v1/…` paths go to the first provider of a format: Anthropic's for its own paths, and for clients that send
 * `anthropic-version` where the formats share a path (`/v1/models`, `/v1/files`), OpenAI's otherwise.
 */
export function routeOf(
  providers: ReadonlyMap<string, ProviderRoute>,
  url: string,
  headers: RequestHeaders,
): Route {
  const query = url.indexOf("?");
  const pathname = query === -1 ? url : url.slice(0, query);
  if (Object.hasOwn(OWN, pathname)) return OWN[pathname];
  if (FORBIDDEN.test(pathname) || url.includes("#")) return BAD_TARGET;
  if (url[0] !== "/" || DOT_SEGMENT.test(pathname)) return NOT_FOUND;
  if (pathname.startsWith("/v1/")) {
    const isAnthropic =
      isMessages(url) || (headers.get("anthropic-version") !== undefined && !OPENAI_ONLY.test(url));
    const provider = isAnthropic
      ? (firstOfFormat(providers, "anthropic") ?? firstOfFormat(providers, "openai"))
      : (firstOfFormat(providers, "openai") ?? firstOfFormat(providers, "anthropic"));
    return provider === undefined ? NOT_FOUND : { kind: "provider", provider, path: url };
  }
  const end = pathname.indexOf("/", 1);
  const provider = end === -1 ? undefined : providers.get(pathname.slice(1, end));
  return provider === undefined ? NOT_FOUND : { kind: "provider", provider, path: url.slice(end) };
}
