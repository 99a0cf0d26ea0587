import type { SubjectCharges } from "../limits/combine.ts";
import type { LimitReading, LimitSpec } from "../limits/limit-spec.ts";
import type { CallCharges } from "./charges.ts";
import type { CompiledRule } from "./compiled-policy.ts";
import { capacityOf, type LimitSpecSource, limitSpecSource } from "./limit-spec-of.ts";
import type { LimitRule } from "./policy.ts";

/*
 * When a limit has been used up to a share that somebody wants to be told of, and how that is told once: by a counter of its own in the store, which holds
 * one and is counted in the limit's own window. Whoever gets that one tells; whoever finds it taken has been told.
 */

/** A subject of a call with those of its limits that have alerts. */
export interface WatchedSubject {
  readonly key: string;
  /** Never empty. */
  readonly rules: readonly CompiledRule[];
}

const PERCENT = 100;
/** Which share must have been reached before a refusal counts as the whole, where no alert is configured below it. */
const NEARLY_USED_UP_PERCENT = 80;

/** The subjects of a call whose limits have alerts; usually none. */
export function watchedSubjects({ subjects, compiled }: CallCharges): readonly WatchedSubject[] {
  if (!compiled.some(hasAlerts)) return NONE;
  let next = 0;
  return subjects.flatMap(({ key, charges }) => {
    const rules = compiled.slice(next, next + charges.length).filter(hasAlerts);
    next += charges.length;
    return rules.length === 0 ? [] : [{ key, rules }];
  });
}

const NONE: readonly WatchedSubject[] = [];
const hasAlerts = ({ rule }: CompiledRule) => rule.alertsAt !== undefined && rule.alertsAt.length > 0;

/** Whether a refusal is about what was used, not about what is only held and may come back. */
export const isUsedUpFor = (rule: LimitRule, reading: LimitReading, need: number): boolean =>
  reading.used + need > capacityOf(rule);

/**
 * The shares in percent that have been reached, ascending: by what was used, not by what is held. A limit that refuses calls seldom reaches the whole of itself:
 * `isRefusing` (see `isUsedUpFor`) counts as that once the share before it has been reached, so that one enormous call is no alarm.
 */
export function sharesReached(
  rule: LimitRule,
  reading: LimitReading,
  isRefusing: boolean,
): readonly number[] {
  const shares = [...(rule.alertsAt ?? [])].sort((a, b) => a - b);
  // Quotients of one ratio are the same double, however large its parts.
  const reaches = (share: number) => reading.used / capacityOf(rule) >= share / PERCENT;
  const before = shares.findLast((share) => share < PERCENT) ?? NEARLY_USED_UP_PERCENT;
  return shares.filter((share) => reaches(share) || (share === PERCENT && isRefusing && reaches(before)));
}

/** The counter that says whether a share of a subject's limit has been told. */
export interface ShareCounter {
  /** Asks for the only one there is. */
  readonly take: SubjectCharges;
  /** Says that it has been told: counted until the window has passed. */
  readonly told: {
    readonly key: string;
    readonly charges: readonly { readonly spec: LimitSpec; readonly actual: number }[];
  };
}

/** Which charge of `ShareCounter.take` is in the way while somebody else is telling; the other one is where somebody has told. */
export const BEING_TOLD = 1;

const sources = new WeakMap<LimitRule, Map<number, readonly [LimitSpecSource, LimitSpecSource]>>();

/** A changed amount is another limit to be told of. */
function sourcesOf(rule: LimitRule, share: number): readonly [LimitSpecSource, LimitSpecSource] {
  let byShare = sources.get(rule);
  if (byShare === undefined) {
    byShare = new Map();
    sources.set(rule, byShare);
  }
  let found = byShare.get(share);
  if (found === undefined) {
    const { window } = rule;
    const counted: LimitRule = {
      ...rule,
      name: `${rule.name}@${share}%${rule.limit}`,
      meter: "requests",
      limit: 1,
      mode: "enforce",
      window: window.kind === "token_bucket" ? { kind: "rolling", windowMs: window.windowMs } : window,
    };
    found = [
      limitSpecSource(counted),
      limitSpecSource({ ...counted, meter: "concurrency", window: { kind: "open" } }),
    ];
    byShare.set(share, found);
  }
  return found;
}

/**
 * The counter of a share in the window of a reading that was made at `nowMs`. A calendar period has counters of its own, so that what is told late does not
 * silence the next period: which period it is, is the store's clock to say, by when it ends.
 *
 * While it is being told the counter is open, like a call, and comes back with the lease of a gateway that dies before it has told (L9).
 */
export function shareCounter(
  key: string,
  rule: LimitRule,
  share: number,
  reading: LimitReading,
  nowMs: number,
): ShareCounter {
  const [windowAt, openAt] = sourcesOf(rule, share);
  const window = windowAt(nowMs);
  const open = openAt(nowMs);
  const name =
    window.algorithm === "calendar_window"
      ? `alert|${periodStartMs(window.boundariesMs, nowMs + reading.moreInMs)}|${key}`
      : `alert|${key}`;
  return {
    take: {
      key: name,
      charges: [
        { spec: window, hold: 0, need: 1 },
        { spec: open, hold: 1, need: 1 },
      ],
    },
    told: {
      key: name,
      charges: [
        { spec: window, actual: 1 },
        { spec: open, actual: 0 },
      ],
    },
  };
}

/** Start of the period that ends nearest to `endsMs`: clocks may differ by up to half a period. */
function periodStartMs(boundariesMs: readonly number[], endsMs: number): number {
  let nearest = 1;
  for (let i = 2; i < boundariesMs.length; i++) {
    if (Math.abs(boundariesMs[i] - endsMs) < Math.abs(boundariesMs[nearest] - endsMs)) nearest = i;
  }
  return boundariesMs[nearest - 1];
}

/** When the reading's window ends and all of the limit is back, in ms from the reading; calendar windows only. */
export const endsInMs = (rule: LimitRule, reading: LimitReading): number | undefined =>
  rule.window.kind === "calendar" ? reading.fullInMs : undefined;
