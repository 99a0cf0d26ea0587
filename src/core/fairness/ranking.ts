import type { Contest } from "./contest.ts";
import { isServedBefore, type Lane } from "./lane.ts";

/** After so many refusals one after the other contests are put in order: that costs as much as looking through all of them a few times. */
const REFUSALS_MAX = 4;

const lastToFirst = (a: Lane, b: Lane): number => (isServedBefore(a, b) ? 1 : -1);

/** The lane of a band that is served first, of those that are first in a contest. */
export function firstAmong(contests: Iterable<Contest>, band: number): Lane | undefined {
  let best: Lane | undefined;
  for (const contest of contests) {
    const lane = contest.first(band);
    if (lane !== undefined && (best === undefined || isServedBefore(lane, best))) best = lane;
  }
  return best;
}

/**
 * Who is first among contests while they are served and leave. Whoever is served changes the order; refusals do not, and there may be as many of them as there are
 * contests.
 */
export class Ranking {
  readonly contests: Set<Contest>;
  /** By band, who is first in each contest, last to first; undefined while all contests are looked through each time. */
  #ranked: (Lane[] | undefined)[] | undefined = undefined;
  #refusals = 0;

  constructor(contests: readonly Contest[]) {
    this.contests = new Set(contests);
  }

  /** The order is a new one. */
  served(): void {
    this.#refusals = 0;
    this.#ranked = undefined;
  }

  /** Who was first does not fit: it sleeps, or its contest leaves. */
  refused(): void {
    this.#refusals += 1;
  }

  /** The lane of a band that is served first. */
  first(band: number): Lane | undefined {
    if (this.#refusals < REFUSALS_MAX) return firstAmong(this.contests, band);
    this.#ranked ??= [];
    this.#ranked[band] ??= this.#rank(band);
    return this.#firstRanked(this.#ranked[band], band);
  }

  #rank(band: number): Lane[] {
    const ranked: Lane[] = [];
    for (const contest of this.contests) {
      const lane = contest.first(band);
      if (lane !== undefined) ranked.push(lane);
    }
    return ranked.sort(lastToFirst);
  }

  #firstRanked(ranked: Lane[], band: number): Lane | undefined {
    for (let lane = ranked.at(-1); lane !== undefined; lane = ranked.at(-1)) {
      const { contest } = lane;
      const first = this.contests.has(contest) ? contest.first(band) : undefined;
      if (first === lane) return lane;
      // It sleeps, and its contest has another first now.
      ranked.pop();
      if (first === undefined) continue;
      let at = ranked.length;
      while (at > 0 && isServedBefore(ranked[at - 1], first)) at -= 1;
      ranked.splice(at, 0, first);
    }
    return undefined;
  }
}
