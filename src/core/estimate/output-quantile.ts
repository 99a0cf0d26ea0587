import { bandOf, type OutputGroup, type OutputGroupNode, OutputGroupTree } from "./output-group-tree.ts";
import { type OutputSnapshot, SNAPSHOT_GROUPS_MAX, SNAPSHOT_VERSION } from "./output-snapshot.ts";
import { type QuantileCell, SHARED_SCALE } from "./quantile-cell.ts";
import { LENGTH_MAX } from "./quantile-histogram.ts";

export type { OutputGroup } from "./output-group-tree.ts";

/** What is known of a call before it is sent, in model tokens. */
export interface OutputCall {
  /** The estimate that is held. */
  readonly inputTokens: number;
  /** Over all its answers, as in `Estimate`; absent where the call names none. */
  readonly outputTokensMax: number | undefined;
  /** How many answers it asks for (`n`): at least 1. */
  readonly answers: number;
}

/** What a call really used. */
export interface OutputOutcome {
  /** Absent where the provider did not say: then the estimate is taken to be right. */
  readonly inputTokens: number | undefined;
  readonly outputTokens: number;
  /** Whether `outgrew` counted this call as a miss: it is not counted twice. */
  readonly missCounted: boolean;
}

/** The share of calls that their hold covers, unless configured. */
const COVERAGE_DEFAULT = 0.9;
/** Beyond the wanted coverage: reports that come late make what was held when they were sent fall short by about this much (`bench/holds.ts`). */
const MARGIN = 0.008;
/** Never certainty: the correction must have somewhere to go. */
const AIM_MAX = 0.998;
/** Groups whose lengths are kept: about 10 kB each. */
const GROUPS_MAX_DEFAULT = 1_000;
/** Instances whose snapshots are kept. */
const INSTANCES_MAX = 64;

/**
 * How far one miss moves the level of the quantile, over all groups and in the call's own. With `CORRECTION_MIN` and `STRETCH` it bounds the misses over
 * any run of calls, see `OutputCalibration`; twice as much makes the holds restless, half as much breaks the bound.
 */
const GAIN_ALL = 0.008;
const GAIN_GROUP = 0.005;
/** How much ease is remembered: after a long run without misses, so many misses later the level is back where it was. */
const CORRECTION_MIN = -0.05;
/**
 * Beyond every length seen, the hold doubles with each 1.4 points of level, a little more than one miss: fast enough to follow any change within two
 * dozen misses, slow enough that a few unlucky ones in a row do not hold a fortune.
 */
const STRETCH = 50;
/** A level beyond which the hold is the longest output there is, from whatever length it starts. */
const CORRECTION_MAX = 0.3;
/** From which a stretched hold starts at least: twice nothing is nothing. */
const STRETCHED_MIN = 16;

/**
 * Input beyond its estimate is kept as a length to hold for others up to as much as was estimated, and this much for short inputs: more is no error of an
 * estimate but something that it could not see (a tool of the provider's that reads a web page), and says nothing about other calls. It is
 * a miss all the same. Kept in full, a few such calls made holds of 600,000 model tokens out of 2,000 recorded usages.
 */
const SHORTFALL_KEPT_MIN = 256;

const clamped = (correction: number): number =>
  correction < CORRECTION_MIN ? CORRECTION_MIN : Math.min(correction, CORRECTION_MAX);

/**
 * How much output to hold for a call, so that the hold covers what the call really uses in a wanted share of calls, and little more.
 *
 * The lengths of the answers really produced are kept by provider, model, effort, feature and plan and by the length of the input, in histograms
 * that forget; a group with little evidence leans on the next broader one. The hold is their quantile, at a level that is corrected online: every
 * miss raises it, every call that is covered lowers it by that much less (adaptive conformal inference, Gibbs and Candès, NeurIPS 2021, with the
 * integrator saturating as in conformal PID control, Angelopoulos, Candès and Tibshirani, NeurIPS 2023).
 *
 * What that guarantees, whatever the lengths are (E2): of any N calls in a row whose outcome is known before the next is sent, and that their own
 * maximum does not bound, at most N · (1 − aim) + 1 + (range of the correction) ÷ `GAIN_ALL` outgrow their hold. The range is at most 0.41, from
 * `CORRECTION_MIN` to where the hold is the longest output there is: 11.8 % of 2,000 at a coverage of 90 %. Where reports
 * come late, the calls sent between a change and its first reports come on top. A late report is judged by what would be held now, not by what was
 * held then: what has been corrected already is not corrected again.
 *
 * "Covers" means the total: where the input was underestimated, the output must make up for it. An input that was overestimated is no excuse,
 * since limits on output alone hold the output alone.
 *
 * Pure: no clock, no randomness. Bounded in groups, names and instances; estimates and reports take a few microseconds at most.
 */
export class OutputCalibration {
  readonly #aim: number;
  readonly #tree: OutputGroupTree;
  /** The revision that was absorbed, by instance, in the order of use. */
  readonly #absorbed = new Map<string, number>();
  #observed = 0;

  constructor(options: { readonly coverage?: number; readonly groupsMax?: number } = {}) {
    this.#aim = Math.min(AIM_MAX, (options.coverage ?? COVERAGE_DEFAULT) + MARGIN);
    this.#tree = new OutputGroupTree(options.groupsMax ?? GROUPS_MAX_DEFAULT);
  }

  /** How many groups are kept, broader ones included. */
  get groups(): number {
    return this.#tree.size;
  }

  /**
   * Output to hold, over all answers; never above the call's own maximum (E5). Undefined while nothing at all is known: the configured default
   * applies.
   */
  expect(group: OutputGroup, call: OutputCall): number | undefined {
    const expected = this.#expectedIn(this.#tree.narrowest(group), call);
    if (expected === undefined) return undefined;
    return call.outputTokensMax !== undefined && call.outputTokensMax < expected
      ? call.outputTokensMax
      : expected;
  }

  /**
   * A running call has emitted more output than was held for it at the start. To be called at that moment and at every later extension of its
   * hold, until it returns true: then the miss is counted (and `observe` must be told). False means that by now more than `emittedTokens` would be
   * held, so that the miss has been answered already.
   */
  outgrew(group: OutputGroup, call: OutputCall, emittedTokens: number): boolean {
    const node = this.#tree.use(group);
    const expected = this.#expectedIn(node, call);
    if (expected !== undefined && expected >= emittedTokens) return false;
    this.#correct(node, true);
    return true;
  }

  /** A call has ended, and its usage is known: not to be told of calls that failed or were cut. */
  observe(group: OutputGroup, call: OutputCall, outcome: OutputOutcome): void {
    const node = this.#tree.use(group);
    const shortfall = Math.max(0, (outcome.inputTokens ?? call.inputTokens) - call.inputTokens);
    const needed = outcome.outputTokens + shortfall;
    const expected = this.#expectedIn(node, call);
    const isMiss = expected !== undefined && needed > expected;
    // A call that its own maximum bounds is covered at any level: it says nothing about the level.
    const isBounded = call.outputTokensMax !== undefined && (expected ?? 0) >= call.outputTokensMax;
    if (expected !== undefined && !isBounded && !outcome.missCounted) this.#correct(node, isMiss);
    this.#observed++;
    const kept = Math.min(shortfall, Math.max(SHORTFALL_KEPT_MIN, call.inputTokens));
    const length = Math.min(LENGTH_MAX, Math.ceil((outcome.outputTokens + kept) / call.answers));
    for (let broader: OutputGroupNode | undefined = node; broader !== undefined; broader = broader.parent) {
      broader.all.add(length);
    }
    const cell = node.bandCell(bandOf(call.inputTokens));
    cell.add(length);
    cell.refreshIfMoved(this.#observed);
  }

  /** What this instance has seen itself: nothing that it absorbed. Of many groups the most recently used. */
  snapshot(): OutputSnapshot {
    const groups: OutputSnapshot["groups"][number][] = [];
    for (const node of this.#tree.nodes()) {
      if (node.all.own.evidence === 0) continue;
      if (groups.length >= SNAPSHOT_GROUPS_MAX) break;
      const bands = [...node.bands]
        .filter(([, cell]) => cell.own.evidence > 0)
        .map(([band, cell]) => ({ band, counts: cell.own.packed(SHARED_SCALE) }));
      groups.push({ path: node.path(), all: node.all.own.packed(SHARED_SCALE), bands });
    }
    return { version: SNAPSHOT_VERSION, revision: this.#observed, groups };
  }

  /** Takes the evidence of an earlier life as its own: it is in later snapshots. For the start, once. */
  restore(snapshot: OutputSnapshot): void {
    for (const { path, all, bands } of snapshot.groups) {
      const node = this.#tree.at(path);
      if (node === undefined) continue;
      node.all.restore(all);
      for (const { band, counts } of bands) node.bandCell(band).restore(counts);
    }
    this.#observed++;
  }

  /**
   * Takes another instance's evidence in place of what that instance published before. It fades as
   * this instance sees calls itself, until a newer revision comes. The order of instances makes no difference. The correction is each instance's
   * own: it answers what this instance has just seen.
   */
  absorb(instance: string, snapshot: OutputSnapshot): void {
    if (this.#absorbed.get(instance) === snapshot.revision) return;
    this.forget(instance);
    for (const { path, all, bands } of snapshot.groups) {
      const node = this.#tree.at(path);
      if (node === undefined) continue;
      node.all.share(instance, all);
      for (const { band, counts } of bands) node.bandCell(band).share(instance, counts);
    }
    this.#absorbed.set(instance, snapshot.revision);
    for (const oldest of this.#absorbed.keys()) {
      if (this.#absorbed.size <= INSTANCES_MAX) break;
      this.forget(oldest);
    }
  }

  /** Gives up what an instance published. */
  forget(instance: string): void {
    if (!this.#absorbed.delete(instance)) return;
    for (const node of this.#tree.nodes()) {
      node.all.share(instance, undefined);
      for (const cell of node.bands.values()) cell.share(instance, undefined);
    }
  }

  #expectedIn(node: OutputGroupNode, call: OutputCall): number | undefined {
    const cell = this.#cellFor(node, call.inputTokens);
    if (cell === undefined) return undefined;
    const { root } = this.#tree;
    const level = this.#aim + root.correction + (node === root ? 0 : node.correction);
    let length = cell.quantile(level, this.#observed);
    if (level > 1) length = Math.max(STRETCHED_MIN, length) * Math.exp((level - 1) * STRETCH);
    return Math.ceil(Math.min(length, LENGTH_MAX)) * call.answers;
  }

  /** The narrowest cell with any evidence, in it or above it. */
  #cellFor(node: OutputGroupNode, inputTokens: number): QuantileCell | undefined {
    const band = node.bands.get(bandOf(inputTokens));
    if (band !== undefined && band.evidence > 0) return band;
    for (let broader: OutputGroupNode | undefined = node; broader !== undefined; broader = broader.parent) {
      if (broader.all.evidence > 0) return broader.all;
    }
    return undefined;
  }

  #correct(node: OutputGroupNode, isMiss: boolean): void {
    const error = isMiss ? this.#aim : this.#aim - 1;
    const { root } = this.#tree;
    root.correction = clamped(root.correction + GAIN_ALL * error);
    node.correction = clamped(node.correction + GAIN_GROUP * error);
  }
}
