import type { LimitReading, LimitSpec } from "../../core/limits/limit-spec.ts";
import type { ReserveOutcome, SettleOutcome } from "../../ports/limit-store.ts";
import type { Realms } from "./realms.ts";
import type { WireCharge } from "./request-codec.ts";

interface WireSubject {
  readonly key: string;
  readonly charges: readonly WireCharge[];
}

/** What of a call is decided in one realm: one script, one round trip. */
export interface RealmPart {
  readonly realm: number;
  readonly subjects: readonly WireSubject[];
  readonly specs: readonly LimitSpec[];
  /** For each of its charges, which of the call's it is; `undefined` where the part is the whole call. */
  readonly charges: readonly number[] | undefined;
}

/** The parts of a call, in the order in which their realms occur. */
export function splitByRealm(subjects: readonly WireSubject[], realms: Realms): readonly RealmPart[] {
  const first = subjects.length === 0 ? 0 : realms.realmOf(subjects[0].key);
  if (realms.count === 1 || subjects.every(({ key }) => realms.realmOf(key) === first)) {
    return [{ realm: first, subjects, specs: specsOf(subjects), charges: undefined }];
  }
  const parts = new Map<number, { subjects: WireSubject[]; charges: number[] }>();
  let charge = 0;
  for (const subject of subjects) {
    const realm = realms.realmOf(subject.key);
    let part = parts.get(realm);
    if (part === undefined) {
      part = { subjects: [], charges: [] };
      parts.set(realm, part);
    }
    part.subjects.push(subject);
    for (let i = 0; i < subject.charges.length; i++) part.charges.push(charge++);
  }
  return [...parts].map(([realm, part]) => ({ realm, ...part, specs: specsOf(part.subjects) }));
}

function specsOf(subjects: readonly WireSubject[]): LimitSpec[] {
  const specs: LimitSpec[] = [];
  for (const { charges } of subjects) for (const { spec } of charges) specs.push(spec);
  return specs;
}

/** The answer for a call from those for its parts: what one script over all of it would have said. */
export function joinOutcomes(
  parts: readonly RealmPart[],
  outcomes: readonly ReserveOutcome[],
): ReserveOutcome {
  const readings = joinReadings(
    parts,
    outcomes.map((outcome) => outcome.readings),
  );
  const numbered = (part: number, charge: number) => parts[part].charges?.[charge] ?? charge;
  if (outcomes.some(({ kind }) => kind === "closed")) return { kind: "closed", readings };
  let neverFits = Number.POSITIVE_INFINITY;
  let longest: { readonly waitMs: number; readonly limiting: number } | undefined;
  const overShadow: number[] = [];
  outcomes.forEach((outcome, part) => {
    if (outcome.kind === "admitted") {
      for (const charge of outcome.overShadow) overShadow.push(numbered(part, charge));
    } else if (outcome.kind === "never_fits") {
      neverFits = Math.min(neverFits, numbered(part, outcome.limiting));
    } else if (outcome.kind === "refused") {
      const limiting = numbered(part, outcome.limiting);
      const { waitMs } = outcome;
      const isLonger = longest === undefined || waitMs > longest.waitMs;
      if (isLonger || (waitMs === longest?.waitMs && limiting < longest.limiting))
        longest = { waitMs, limiting };
    }
  });
  if (neverFits !== Number.POSITIVE_INFINITY) return { kind: "never_fits", limiting: neverFits, readings };
  if (longest !== undefined) return { kind: "refused", ...longest, readings };
  return { kind: "admitted", overShadow: overShadow.sort((a, b) => a - b), readings };
}

export function joinReadings(
  parts: readonly RealmPart[],
  readings: readonly (readonly LimitReading[])[],
): LimitReading[] {
  const joined: LimitReading[] = [];
  parts.forEach((part, index) => {
    readings[index].forEach((reading, charge) => {
      joined[part.charges?.[charge] ?? charge] = reading;
    });
  });
  return joined;
}

/** Something that was unknown has been charged now; else something settled is; else all of it was before. */
export function joinSettled(outcomes: readonly SettleOutcome[]): SettleOutcome {
  if (outcomes.includes("unknown")) return "unknown";
  return outcomes.includes("settled") ? "settled" : "already";
}
