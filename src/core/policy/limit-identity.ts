import type { LimitRule, Window } from "./policy.ts";

/** 2^32: where the upper 16 bits of an identity begin. */
const HIGH = 4_294_967_296;

/** What of a window makes a counter this one: its length and kind, but not the burst, which is an amount. */
function windowIdentity(window: Window): readonly (string | number)[] {
  switch (window.kind) {
    case "rolling":
    case "token_bucket":
      return [window.kind, window.windowMs];
    case "calendar":
      return [window.kind, window.unit, window.timezone];
    case "open":
      return [window.kind];
  }
}

/**
 * What names the rule's counters in a store: a 48-bit hash of name, scope, meter, algorithm and window (with its time zone). Not of the amount
 * or of what the rule matches, so that changing those keeps the counts.
 *
 * Two rounds of 32 bits in the manner of MurmurHash2 over UTF-16 code units, with MurmurHash3's finaliser (Austin Appleby, public domain).
 * A subject has a handful of limits: the chance that two of them collide in 48 bits is below 10^-12, and the configuration refuses it.
 */
export function limitId(rule: Pick<LimitRule, "name" | "scope" | "meter" | "window">): number {
  const text = JSON.stringify([rule.name, [...rule.scope].sort(), rule.meter, windowIdentity(rule.window)]);
  return (mix(text, 0x9e3779b9) & 0xffff) * HIGH + mix(text, 0x85ebca6b);
}

/** An unsigned 32-bit hash. */
function mix(text: string, seed: number): number {
  let hash = seed ^ text.length;
  for (let i = 0; i < text.length; i++) {
    let unit = Math.imul(text.charCodeAt(i), 0x5bd1e995);
    unit ^= unit >>> 24;
    hash = Math.imul(hash, 0x5bd1e995) ^ Math.imul(unit, 0x5bd1e995);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
