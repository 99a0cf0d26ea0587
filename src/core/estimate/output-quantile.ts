import { CoverageDebt } from "./coverage-debt.ts";
import { bucketOf, bucketStart, LENGTH_MAX } from "./length-buckets.ts";
import { bandOf, type OutputGroup, type OutputGroupNode, OutputGroupTree } from "./output-group-tree.ts";
import { type OutputSnapshot, SNAPSHOT_GROUPS_MAX, SNAPSHOT_VERSION } from "./output-snapshot.ts";
import { type QuantileCell, SHARED_SCALE } from "./quantile-cell.ts";
import { type OutputCall, RunningOutput } from "./running-output.ts";

export type { OutputGroup } from "./output-group-tree.ts";
export type { OutputCall } from "./running-output.ts";

/** What a call really used. */
export interface OutputOutcome {
  /** Absent where the provider did not say: then the estimate is taken to be right. */
  readonly inputTokens: number | undefined;
  readonly outputTokens: number;
}

/** The share of calls that their hold covers. */
const COVERAGE_DEFAULT = 0.9;
/** Beyond the wanted coverage: what is known of a group is a little old and of a little evidence, so that its quantiles fall short by about this much (`bench/holds.ts`). */
const MARGIN = 0.008;
/** Never certainty: the correction must have somewhere to go. */
const AIM_MAX = 0.998;
/** Groups whose lengths are kept: about 12 kB each. */
const GROUPS_MAX_DEFAULT = 1_000;
/** So many calls of a group itself say what it is like. */
const OWN_EVIDENCE_MIN = 20;
/** Instances whose snapshots are kept. */
const INSTANCES_MAX = 64;

/**
 * How far one miss moves the level of the quantile, over all groups and in the call's own. With `CORRECTION_MIN`, `STRETCH` and the debt it bounds the misses
 * over any run of calls, see `OutputCalibration`; more makes the holds restless where reports come late, less breaks the bound.
 */
const GAIN_ALL = 0.0075;
const GAIN_GROUP = 0.003;
/** How much ease is remembered. More would hold less where many lengths are the same, and be wrong for a window where the short calls of a new kind end first. */
const CORRECTION_MIN = -0.02;
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

/** A running call is looked at again after a quarter of an octave: as far as it has come in that is counted at once, so that calls are rather taken for longer. */
const STEP_BUCKETS = 4;
/** A miss that has been answered already is asked about again when the call has come so many times as far. More often, and each of the hold's small dips would count as a miss. */
const JUDGED_AGAIN = 2;
/** No call is certain to stay within its hold. */
const BEYOND_MIN = 0.0005;
/** Nor to leave it, before it has. */
const RISK_MAX = 0.99;

/** Debt is paid back by covering the tail of what is known, not by holding beyond it. */
const PAID_BACK_LEVEL_MAX = 0.98;

/** A call says nothing about the level where nothing was expected of it, and where its own maximum bounds it. */
const isJudged = ({ call, expected }: RunningOutput): boolean =>
  expected !== undefined && !(call.outputTokensMax !== undefined && expected >= call.outputTokensMax);

/**
 * How much output to hold for a call, so that the hold covers what the call really uses in a wanted share of calls, and little more.
 *
 * The lengths of the answers really produced are kept by provider, model, effort, feature and plan and by the length of the input, in histograms that
 * forget; a group with little evidence leans on the next broader one, and all on what models write anywhere. Calls that are still running count in how
 * far they have come (Kaplan and Meier), so that a model or a change of which only the short calls have ended is not taken to be of short calls.
 *
 * The hold is their quantile, at a level that is corrected online: every miss raises it, every call that is covered lowers it by that much less
 * (adaptive conformal inference, Gibbs and Candès, NeurIPS 2021, with the integrator saturating as in conformal PID control, Angelopoulos, Candès and
 * Tibshirani, NeurIPS 2023). A late report is judged by what would be held now, not by what was held then: what has been corrected already is not
 * corrected again. What has been missed all the same is a debt, for which the wanted coverage is raised until it is paid back.
 *
 * What that guarantees, whatever the lengths are (E2): of any N calls in a row whose outcome is known before the next is sent, and that their own
 * maximum does not bound, at most N · (1 − aim) + 1 + credit + range ÷ `GAIN_ALL` outgrow their hold. The range of the correction is at most 0.334, from
 * `CORRECTION_MIN` to where the hold is the longest output there is: 11.9 % of 2,000 at a coverage of 90 %. Where reports come late, no method can know
 * of what is sent between a change and its first signs; that is a debt, too, and paid back in the coverage of the next calls.
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
  readonly #debt: CoverageDebt;
  #observed = 0;

  constructor(options: { readonly coverage?: number; readonly groupsMax?: number } = {}) {
    this.#aim = Math.min(AIM_MAX, (options.coverage ?? COVERAGE_DEFAULT) + MARGIN);
    this.#debt = new CoverageDebt(1 - this.#aim);
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

  /** Whether what `expect` says comes from calls of other features, plans or efforts, as this group has hardly had any. */
  isBorrowed(group: OutputGroup): boolean {
    const own = this.#tree.own(group);
    return own === undefined || own.all.evidence < OWN_EVIDENCE_MIN;
  }

  /** A call is sent, for which `expect` gave `expected`. */
  begin(group: OutputGroup, call: OutputCall, expected: number | undefined): RunningOutput {
    return new RunningOutput(group, call, expected);
  }

  /**
   * A running call has so much output, over all its answers. To be told when that is news (`RunningOutput.isNews`). A call that outgrows what was held is
   * a miss at that moment, not when it ends: long outputs report late.
   */
  emitted(running: RunningOutput, emittedTokens: number): void {
    const { call, expected } = running;
    running.node ??= this.#tree.use(running.group);
    const { node } = running;
    const cell = node.bandCell(bandOf(call.inputTokens));
    const isMiss = expected !== undefined && emittedTokens > expected;
    if (isJudged(running)) {
      const risk = isMiss ? 1 : this.#riskOf(cell, call, expected ?? 0, emittedTokens);
      this.#debt.expect(running.risk, risk);
      running.risk = risk;
    }
    if (isMiss && emittedTokens >= running.judgedAgainTokens && !running.isMissCorrected) {
      running.judgedAgainTokens = JUDGED_AGAIN * emittedTokens;
      const now = this.#expectedIn(node, call);
      // Where more would be held by now, the miss has been answered already; the call may yet come further.
      running.isMissCorrected = now === undefined || now < emittedTokens;
      if (running.isMissCorrected) this.#correct(node, true);
    }
    const next = this.#reach(running, node, emittedTokens);
    running.nextTokens = expected === undefined || isMiss ? next : Math.min(next, expected + 1);
  }

  /**
   * A running call of which nothing is seen has by now written as much as such calls have. To be told when that is news. It counts for what others are held, so that
   * the long ones count before they end; whether it outgrows its own hold is known when it has ended.
   */
  presumed(running: RunningOutput, outputTokens: number): void {
    running.node ??= this.#tree.use(running.group);
    running.isPresumed = true;
    running.nextTokens = this.#reach(running, running.node, outputTokens);
  }

  /** Counts how far a running call has come. Returns from how much output on there is more to count. */
  #reach(running: RunningOutput, node: OutputGroupNode, outputTokens: number): number {
    const { answers, inputTokens } = running.call;
    const bucket = bucketOf(Math.ceil(outputTokens / answers)) | (STEP_BUCKETS - 1);
    const before = running.reachedBucket;
    if (bucket > before) {
      running.reachedBucket = bucket;
      for (let broader: OutputGroupNode | undefined = node; broader !== undefined; broader = broader.parent) {
        broader.all.reach(before, bucket);
      }
      node.bandCell(bandOf(inputTokens)).reach(before, bucket);
    }
    return bucketStart(running.reachedBucket + 1) * answers;
  }

  /** A call has ended, and its usage is known: of one that failed or was cut, see `dropped`. Exactly one of the two ends a call. */
  ended(running: RunningOutput, outcome: OutputOutcome): void {
    const { call, group, expected } = running;
    // A group that was forgotten while the call ran is a new one from now on, and the call not of it.
    const used = this.#tree.use(group);
    const node = running.node ?? used;
    const shortfall = Math.max(0, (outcome.inputTokens ?? call.inputTokens) - call.inputTokens);
    const needed = outcome.outputTokens + shortfall;
    // Before the miss itself, as a debt, raises what would be held: else some misses would not be corrected.
    const now = this.#expectedIn(node, call);
    if (isJudged(running)) this.#debt.end(running.risk, running.risk === 1 || needed > (expected ?? 0));
    // A call that its own maximum bounds is covered at any level: it says nothing about the level.
    const isBounded = call.outputTokensMax !== undefined && (now ?? 0) >= call.outputTokensMax;
    if (now !== undefined && !isBounded && !running.isMissCorrected) this.#correct(node, needed > now);
    this.#observed++;
    const kept = Math.min(shortfall, Math.max(SHORTFALL_KEPT_MIN, call.inputTokens));
    const length = Math.min(LENGTH_MAX, Math.ceil((outcome.outputTokens + kept) / call.answers));
    for (let broader: OutputGroupNode | undefined = node; broader !== undefined; broader = broader.parent) {
      broader.all.add(length, running.reachedBucket);
    }
    const cell = node.bandCell(bandOf(call.inputTokens));
    cell.add(length, running.reachedBucket);
    cell.refreshIfMoved(this.#observed);
  }

  /**
   * A call has failed or was cut: what it was seen to have written by then counts, and so does having outgrown its hold; how it would have ended is not known. What was only
   * presumed counts no more: a provider that does not answer has not written either.
   */
  dropped(running: RunningOutput): void {
    if (isJudged(running) && running.risk !== 1) this.#debt.forget(running.risk);
    const { node, reachedBucket } = running;
    if (!running.isPresumed || node === undefined) return;
    for (let broader: OutputGroupNode | undefined = node; broader !== undefined; broader = broader.parent) {
      broader.all.takeBack(reachedBucket);
    }
    node.bandCell(bandOf(running.call.inputTokens)).takeBack(reachedBucket);
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
    const corrected = this.#aim + root.correction + (node === root ? 0 : node.correction);
    const level = Math.max(corrected, Math.min(PAID_BACK_LEVEL_MAX, corrected + this.#debt.aimRaise));
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

  /** The chance that a call that has come so far outgrows what was held for it. */
  #riskOf(cell: QuantileCell, { answers }: OutputCall, heldTokens: number, emittedTokens: number): number {
    const beyond = (tokens: number) =>
      Math.max(BEYOND_MIN, cell.shareBeyond(tokens / answers, this.#observed));
    return Math.min(RISK_MAX, beyond(heldTokens) / beyond(emittedTokens));
  }

  #correct(node: OutputGroupNode, isMiss: boolean): void {
    const aim = this.#aim + this.#debt.aimRaise;
    const error = isMiss ? aim : aim - 1;
    const { root } = this.#tree;
    root.correction = clamped(root.correction + GAIN_ALL * error);
    node.correction = clamped(node.correction + GAIN_GROUP * error);
  }
}
