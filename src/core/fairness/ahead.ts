import type { Contest } from "./contest.ts";
import type { Lane } from "./lane.ts";
import { noNeeds, type PermitRequest } from "./permit.ts";

/** Whether a call asks for less of what another one has no room for under `key`, which both share in the same contest: only then can it fit. */
export function asksForLess({ subjects }: PermitRequest, other: PermitRequest, key: string): boolean {
  for (let i = 0; i < subjects.length; i++) {
    if (subjects[i].key !== key) continue;
    const { charges } = subjects[i];
    for (let at = 0; at < other.subjects.length; at++) {
      if (other.subjects[at].key !== key) continue;
      const theirs = other.subjects[at].charges;
      for (let charge = 0; charge < charges.length; charge++) {
        if (charges[charge].need < theirs[charge].need) return true;
      }
    }
  }
  return false;
}

/** How much of what waits in a band is served before a flow of `weight` has had `own` and `need`: the others get their shares meanwhile. */
function turnsAhead(own: number, need: number, waiting: number, weights: number, weight: number): number {
  return Math.max(own, Math.min(waiting, (own + need) * (weights / weight) - need));
}

/**
 * What is charged before a call, by charge, as far as can be told now. `own`: what its own lane has in front of it, by charge; undefined for nothing. On shared limits all of the
 * higher bands come first, and of its own band as much as its turn lets pass. `joining` is its flow's weight where its lane does not wait yet, else 0;
 * `isIn` is whether the call itself waits already, and is part of what does.
 */
export function aheadOf(
  request: PermitRequest,
  flow: { readonly band: number; readonly weight: number },
  contest: Contest,
  own: readonly number[] | undefined,
  joining: number,
  isIn: boolean,
): number[] {
  const ahead = noNeeds(request);
  const { subjects, isShared } = request;
  const load = contest.loads[flow.band];
  let charge = 0;
  let shared = 0;
  for (let i = 0; i < subjects.length; i++) {
    for (const { need } of subjects[i].charges) {
      const mine = own === undefined ? 0 : own[charge];
      if (!isShared[i]) {
        ahead[charge++] = mine;
        continue;
      }
      let higher = 0;
      for (let band = 0; band < flow.band; band++) higher += contest.loads[band].needs[shared];
      const waiting = load.needs[shared] - (isIn ? need : 0);
      ahead[charge++] = higher + turnsAhead(mine, need, waiting, load.weight + joining, flow.weight);
      shared += 1;
    }
  }
  return ahead;
}

/** How many calls are served before one with `own` calls in front of it in its lane, as far as can be told now. */
export function callsAhead({ contest, flow }: Lane, own: number): number {
  if (contest.shared.length === 0) return own;
  let higher = 0;
  for (let band = 0; band < flow.band; band++) higher += contest.loads[band].calls;
  const load = contest.loads[flow.band];
  return higher + Math.floor(turnsAhead(own, 1, load.calls - 1, load.weight, flow.weight));
}
