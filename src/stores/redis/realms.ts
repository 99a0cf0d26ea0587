import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

/** Longer keys are replaced by their hash: a name of a megabyte must not become a key of one. */
const KEY_LENGTH_MAX = 256;

/** The one user or key that a subject belongs to, whatever else it is counted per: see `core/policy/subject-key.ts`. */
const OWNER = /(?:^|\|)((?:user|key)=[^|]*)/;

/**
 * Where keys live in a cluster. A realm is one hash tag, so all that it has is on one slot and one script can decide over it. With one realm
 * everything is together. With several, what belongs to one user (or key) is in a realm picked by that name, spread over the cluster,
 * and what many share is in realm 0.
 */
export class Realms {
  readonly count: number;
  readonly #prefix: string;
  readonly #tags: readonly string[];

  /** `prefix` starts every key; it has no braces, which would be taken for the tag. */
  constructor(prefix: string, count: number) {
    this.count = count;
    this.#prefix = prefix;
    this.#tags =
      count === 1 ? ["{sluice}"] : Array.from({ length: count }, (_, realm) => `{sluice:${realm}}`);
  }

  /** Every gateway must give the same answer, so it depends on the key only. */
  realmOf(key: string): number {
    if (this.count === 1) return 0;
    const owner = OWNER.exec(key)?.[1];
    return owner === undefined ? 0 : fnv1a(owner) % this.count;
  }

  /** Key of a subject's value, with the number of its layout (`subject-state.lua`). */
  subject(realm: number, key: string): string {
    return `${this.#prefix}${this.#tags[realm]}2:${printable(key)}`;
  }

  /** Key of the leases of gateways. */
  gateways(realm: number): string {
    return `${this.#prefix}${this.#tags[realm]}gateways`;
  }

  /** Key of what gateways have learned, in the realm of all that is shared. */
  calibrations(): string {
    return `${this.#prefix}${this.#tags[0]}calibrations`;
  }

  /** What starts every key of the waiting room, in the realm of all that is shared, with the number of its layout (`room-records.lua`). */
  room(): string {
    return `${this.#prefix}${this.#tags[0]}room2:`;
  }

  /** A key that never exists, to ask whether the realm's server answers. */
  probe(realm: number): string {
    return `${this.#prefix}${this.#tags[realm]}probe`;
  }
}

/** One text for each key that survives UTF-8 and stays short. */
function printable(key: string): string {
  if (key.length <= KEY_LENGTH_MAX && key.isWellFormed()) return key;
  return `#${createHash("sha256").update(Buffer.from(key, "utf16le")).digest("base64")}`;
}

/** FNV-1a, 32 bits: spreads names evenly, which is all that is asked of it. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
