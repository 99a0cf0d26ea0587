import { hash } from "node:crypto";
import { OperationalError } from "../core/operational-error.ts";
import type { Caller } from "../core/policy/policy.ts";
import type { RequestHeaders } from "./http-server/request-headers.ts";

/** Headers that say who calls, believed only from addresses that `isTrusted` (X2). Names in lower case. */
export interface TrustedHeaders {
  isTrusted(address: string): boolean;
  readonly user: string | undefined;
  readonly plan: string | undefined;
  readonly team: string | undefined;
  readonly feature: string | undefined;
}

/** How callers are known. */
export interface Identification {
  /** By the SHA-256 of the key, in hexadecimal: the keys themselves are not kept (X1). */
  readonly callersByKeyHash: ReadonlyMap<string, Caller>;
  readonly trustedHeaders: TrustedHeaders | undefined;
  /** Their names: taken from every request on its way to the provider, whoever sent it (X2). */
  readonly identityHeaders: ReadonlySet<string>;
  /** For callers that a trusted header names without a plan. */
  readonly defaultPlan: string | undefined;
  readonly plans: ReadonlySet<string>;
  /** The plan of callers without any identity, counted per address; absent where they are rejected. */
  readonly anonymousPlan: string | undefined;
}

/** A user's name is a counter's name: bounded, so that it cannot be used to fill memory. */
const NAME_LENGTH_MAX = 256;
const BEARER = /^bearer +(.*)$/i;

/** The key of a request: `Authorization: Bearer …`, or `x-api-key`. */
function clientKey(headers: RequestHeaders): string | undefined {
  const authorization = headers.get("authorization");
  const bearer = authorization === undefined ? null : BEARER.exec(authorization);
  if (bearer !== null) return bearer[1].trim();
  return headers.get("x-api-key")?.trim();
}

/** Looking up a hash takes the same time whatever the key is, so nothing can be learned from how long it takes (X1). */
const hashOf = (key: string) => hash("sha256", key, "hex");

/** A proxy that adds its own to what the client has sent would let the client say who it is (X2). */
function assertOnce(headers: RequestHeaders, name: string | undefined): void {
  if (name === undefined || headers.count(name) <= 1) return;
  throw new OperationalError("invalid_request", `the header ${name} stands more than once`);
}

function headerValue(headers: RequestHeaders, name: string | undefined): string | undefined {
  const value = name === undefined ? undefined : headers.get(name);
  assertOnce(headers, name);
  if (name === undefined || value === undefined || value === "") return undefined;
  if (value.length > NAME_LENGTH_MAX) {
    throw new OperationalError(
      "invalid_request",
      `the header ${name} is longer than ${NAME_LENGTH_MAX} characters`,
    );
  }
  return value;
}

/** A consumer may be in several groups: the first that is a plan counts. Their list may be as long as headers are. */
function planOf(
  headers: RequestHeaders,
  name: string | undefined,
  plans: ReadonlySet<string>,
): string | undefined {
  assertOnce(headers, name);
  const groups = name === undefined ? undefined : headers.get(name);
  return groups
    ?.split(",")
    .map((group) => group.trim())
    .find((group) => plans.has(group));
}

function callerFromHeaders(
  headers: RequestHeaders,
  trusted: TrustedHeaders,
  identification: Identification,
): Caller | undefined {
  const user = headerValue(headers, trusted.user);
  if (user === undefined) return undefined;
  const plan = planOf(headers, trusted.plan, identification.plans) ?? identification.defaultPlan;
  if (plan === undefined) {
    throw new OperationalError(
      "invalid_key",
      `the header ${trusted.plan ?? "for the plan"} names no plan of this gateway for user "${user}"`,
    );
  }
  return {
    user,
    plan,
    team: headerValue(headers, trusted.team),
    feature: headerValue(headers, trusted.feature),
  };
}

/**
 * Who calls: from trusted headers, else from the key, else anonymous. Throws an `OperationalError`: `invalid_key` for a key that is unknown or missing where one is
 * needed, and for a user of whom no plan is known; `invalid_request` for a trusted header that stands more than once or is too long.
 */
export function identify(identification: Identification, headers: RequestHeaders, address: string): Caller {
  const trusted = identification.trustedHeaders;
  const isTrusted = trusted?.isTrusted(address) ?? false;
  if (trusted !== undefined && isTrusted) {
    const caller = callerFromHeaders(headers, trusted, identification);
    if (caller !== undefined) return caller;
  }
  const key = clientKey(headers);
  if (key !== undefined && key !== "") {
    const caller = identification.callersByKeyHash.get(hashOf(key));
    if (caller !== undefined) {
      const feature = isTrusted ? headerValue(headers, trusted?.feature) : undefined;
      return feature === undefined ? caller : { ...caller, feature };
    }
    if (identification.anonymousPlan === undefined) {
      throw new OperationalError(
        "invalid_key",
        "Incorrect API key provided: it is not one of this gateway's keys.",
      );
    }
  }
  if (identification.anonymousPlan === undefined) {
    throw new OperationalError(
      "invalid_key",
      "You didn't provide an API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
    );
  }
  return { user: `anonymous@${address}`, plan: identification.anonymousPlan };
}
